// A force tester on node-opcua. It makes its next result when the last one is acknowledged, and each value is a
// function of the result's number, so that a mixture of two would show. Every new result is told on standard output;
// a line {"next": true} on standard input makes one, {"bad": true} gives the force a bad status; it says when that is
// done. The end of standard input ends it.
//
// node machine.mjs '{"port": 4840, "pki": "/tmp/pki", "first": 1}'
//   first      number of the result that stands there as it starts
//   limit      most nodes of one Read; 0 is none
//   padding    namespaces before the machine's own, which moves its index
//   policies   security policies it offers
//   discovery  false: nobody is told what it offers without a secure channel
//   user, password   who is let in, where nobody is without a name
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import readline from "node:readline";

const require = createRequire(import.meta.url);
const opcua = { ...require("node-opcua-server"), ...require("node-opcua-nodesets"), ...require("node-opcua-variant"),
  ...require("node-opcua-status-code"), ...require("node-opcua-secure-channel"),
  ...require("node-opcua-certificate-manager"), ...require("node-opcua-basic-types") };
const { DataType, VariantArrayType, StatusCodes, MessageSecurityMode, SecurityPolicy } = opcua;

const everything = ["None", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"];
const options = { first: 1, limit: 0, padding: 0, policies: everything, ...JSON.parse(process.argv[2]) };
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const certificates = new opcua.OPCUACertificateManager({ rootFolder: options.pki, automaticallyAcceptUnknownCertificate: false });
await certificates.initialize();

const server = new opcua.OPCUAServer({
  port: options.port,
  hostname: "127.0.0.1",
  nodeset_filename: [opcua.nodesets.standard, fileURLToPath(new URL("types.xml", import.meta.url))],
  serverCertificateManager: certificates,
  userCertificateManager: certificates,
  allowAnonymous: !options.user,
  userManager: { isValidUser: (name, password) => name === options.user && password === options.password },
  securityPolicies: options.policies.map((name) => SecurityPolicy[name]),
  securityModes: [...(options.policies.includes("None") ? [MessageSecurityMode.None] : []),
    ...(options.policies.some((name) => name !== "None") ? [MessageSecurityMode.Sign, MessageSecurityMode.SignAndEncrypt] : [])],
  disableDiscovery: options.discovery === false,
  serverCapabilities: { operationLimits: { maxNodesPerRead: options.limit } },
});
await server.initialize();

const space = server.engine.addressSpace;
for (let padding = 0; padding < options.padding; padding++) space.registerNamespace(`urn:padding:${padding}`);
const types = space.getNamespace("urn:maker:tester");
const own = space.registerNamespace("urn:site:line");
const machine = own.addObject({ organizedBy: space.rootFolder.objects, browseName: "Tester", nodeId: "s=Tester", eventNotifier: 1 });
machine.addReference({ referenceType: "HasEventSource", isForward: false, nodeId: space.rootFolder.objects.server });
const event = space.findEventType(types.findObjectType("ResultReadyEventType"));
const pointType = types.findDataType("TestPointType");
const reportType = types.findDataType("ReportType");

let number = options.first;
const pointOf = (n, place) => space.constructExtensionObject(pointType, { temperature: 40 + place + (n % 10) / 10, force: 1.2 + place, state: 7 });
const values = {
  n: () => ({ dataType: DataType.UInt32, value: number }),
  serial: () => ({ dataType: DataType.String, value: `SN-261125-${String(number).padStart(6, "0")}` }),
  force: () => ({ dataType: DataType.Float, value: 1.2 + (number % 5) }),
  depth: () => ({ dataType: DataType.Double, value: number / 8 }),
  curve: () => ({ dataType: DataType.Double, arrayType: VariantArrayType.Array, value: Float64Array.from([number, number + 0.5]) }),
  matrix: () => ({ dataType: DataType.Int32, arrayType: VariantArrayType.Matrix, dimensions: [2, 3], value: Int32Array.from([1, 2, 3, 4, 5, number]) }),
  state: () => ({ dataType: DataType.Int32, value: 7 }),
  points: () => ({ dataType: DataType.ExtensionObject, arrayType: VariantArrayType.Array, value: [pointOf(number, 0), pointOf(number, 1)] }),
  report: () => ({ dataType: DataType.ExtensionObject, value: space.constructExtensionObject(reportType,
    { operator: "kim", note: number % 2 ? "odd" : undefined, cycles: number % 65536, curve: [1.5, number], best: pointOf(number, 2) }) }),
  bytes: () => ({ dataType: DataType.ByteString, value: Buffer.from([0, 255, number % 256]) }),
  told: () => ({ dataType: DataType.LocalizedText, value: { locale: "ko", text: "좋음" } }),
  at: () => ({ dataType: DataType.DateTime, value: new Date(Date.UTC(2026, 0, 2, 3, 4, number % 60)) }),
  id: () => ({ dataType: DataType.Guid, value: "72962b91-fa75-4ae6-8d28-b404dc7daf63" }),
};
const dataTypes = { state: types.findDataType("StateType"), points: pointType, report: reportType };
const variables = {};
for (const [name, value] of Object.entries(values)) {
  variables[name] = own.addVariable({ componentOf: machine, browseName: name, nodeId: `s=Tester.${name}`,
    dataType: dataTypes[name] ?? DataType[value().dataType], valueRank: { curve: 1, points: 1, matrix: 2 }[name] ?? -1,
    arrayDimensions: { matrix: [2, 3] }[name], minimumSamplingInterval: 10 });
}
const show = () => {
  for (const name of Object.keys(values).reverse()) variables[name].setValueFromSource(values[name](), StatusCodes.Good, new Date());
};

const acknowledged = (told) => {
  if (told === number) next();
  return told === number - 1;
};
const next = () => {
  number++;
  show();
  machine.raiseEvent(event, { message: { dataType: DataType.LocalizedText, value: "result ready" }, severity: { dataType: DataType.UInt32, value: 100 },
    counter: values.n(), serialNumber: values.serial(), force: values.force() });
  say({ made: number });
};
const echo = own.addVariable({ componentOf: machine, browseName: "ack", nodeId: "s=Tester.ack", dataType: DataType.UInt32,
  accessLevel: "CurrentRead | CurrentWrite", userAccessLevel: "CurrentRead | CurrentWrite",
  value: { dataType: DataType.UInt32, value: 0 } });
echo.on("value_changed", (data) => acknowledged(data.value.value));
const method = own.addMethod(machine, { browseName: "Acknowledge", nodeId: "s=Tester.Acknowledge",
  inputArguments: [{ name: "number", dataType: DataType.UInt32 }, { name: "kept", dataType: DataType.Boolean }],
  outputArguments: [{ name: "result", dataType: DataType.Int32 }] });
method.bindMethod((inputs, _context, callback) => callback(null, { statusCode: StatusCodes.Good,
  outputArguments: [{ dataType: DataType.Int32, value: acknowledged(inputs[0].value) ? 0 : 5 }] }));

show();
await server.start();
say({ made: number });
say({ listening: options.port, namespaces: space.getNamespaceArray().map((one) => one.namespaceUri) });

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const wanted = JSON.parse(line);
  if (wanted.next) next();
  if (wanted.bad) variables.force.setValueFromSource(values.force(), StatusCodes.BadSensorFailure, new Date());
  say({ done: wanted });
}).on("close", () => process.exit(0));
