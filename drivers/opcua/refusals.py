"""What a server's refusal means to the people who set it up (OPC 10000-4, 7.38.2)."""

from asyncua import ua

from drivers.opcua.connect import Connect

Codes = ua.StatusCodes
SETUP_CODES = frozenset(
    {
        Codes.BadNotWritable,
        Codes.BadUserAccessDenied,
        Codes.BadTypeMismatch,
        Codes.BadOutOfRange,
        Codes.BadWriteNotSupported,
        Codes.BadNodeIdUnknown,
        Codes.BadNodeIdInvalid,
        Codes.BadMethodInvalid,
        Codes.BadNotExecutable,
        Codes.BadArgumentsMissing,
        Codes.BadTooManyArguments,
        Codes.BadInvalidArgument,
        Codes.BadServiceUnsupported,
        Codes.BadNotImplemented,
        Codes.BadSecurityModeInsufficient,
    }
)
"""Of a service: asking again cannot help."""
_CERTIFICATE = frozenset(
    {
        Codes.BadSecurityChecksFailed,
        Codes.BadCertificateUntrusted,
        Codes.BadCertificateInvalid,
        Codes.BadCertificateTimeInvalid,
        Codes.BadCertificateUriInvalid,
        Codes.BadCertificateUseNotAllowed,
        Codes.BadCertificateRevoked,
        Codes.BadCertificateChainIncomplete,
        Codes.BadCertificatePolicyCheckFailed,
    }
)
_USER = frozenset({Codes.BadIdentityTokenRejected, Codes.BadIdentityTokenInvalid, Codes.BadUserAccessDenied})
_POLICY = frozenset({Codes.BadSecurityPolicyRejected, Codes.BadSecurityModeRejected, Codes.BadSecurityModeInsufficient})


def advice(error: BaseException, connect: Connect) -> str | None:
    """Why a server does not let the station in, and what to do; None where it may do so later."""
    code = error.code if isinstance(error, ua.UaStatusCodeError) else None
    name = "" if code is None else f" ({ua.StatusCode(code).name})"
    if code in _USER:
        if connect.user is None:
            return f"the server lets nobody in without a name{name}; set connect.user"
        who = connect.user.name or f"the user of {connect.user.certificate}"
        return f"the server refuses {who}{name}; check name and password, or the user's certificate, at the machine"
    # node-opcua refuses a channel with a fault that asyncua trips over.
    channel_refused = isinstance(error, AssertionError)
    if connect.security is not None and (code in _CERTIFICATE or channel_refused):
        return (
            f"the server refuses this station's certificate {connect.security.certificate}{name}; "
            "trust it at the machine, often by moving it from the rejected to the trusted ones"
        )
    if code in _POLICY or channel_refused or (type(error) is ua.UaError and "No matching endpoints" in str(error)):
        wanted = "an insecure link" if connect.security is None else f"{connect.security.policy}"
        return f"the server does not allow {wanted}{name}; set connect.security as the server offers it"
    return None
