/* A machine that speaks Modbus by libmodbus: it counts results, shows one at a time, and waits for its acknowledgement.
 *
 *   modbus_machine tcp PORT|rtu DEVICE  DEVICE_ID  FIRST  echo|four_phase
 *
 * FIRST is the number of the result that stands there as it starts; 0 is none yet, and 1 is made at once. Says
 * "listening PORT" and "made N" on standard output. All of a result is a function of its number, so that a reader can
 * tell results that were mixed:
 *
 *   holding 0      counter, written last          holding 10..20  serial number, two letters a register
 *   holding 30,31  float32, high word first       holding 34,35   int32, low word first
 *   input 7        int16                          discrete input 4, coil 21
 *   holding 50     echo of the counter            discrete input 0: ready, coil 0: ack (four_phase)
 */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

static modbus_mapping_t *map;
static int counter, four_phase, acknowledged;

static void show(int number)
{
    char serial[23];
    float temperature = 60.0f + (number % 100) / 100.0f;
    uint32_t bits;
    int32_t cycles = 70000 * (number % 1000) - 35;
    int i;

    memset(serial, 0, sizeof serial);
    snprintf(serial, sizeof serial, "SN-261123-%06d", number);
    for (i = 0; i < 11; i++)
        map->tab_registers[10 + i] = (uint8_t)serial[2 * i] << 8 | (uint8_t)serial[2 * i + 1];
    memcpy(&bits, &temperature, 4);
    map->tab_registers[30] = bits >> 16;
    map->tab_registers[31] = bits & 0xffff;
    map->tab_registers[34] = (uint32_t)cycles & 0xffff;
    map->tab_registers[35] = (uint32_t)cycles >> 16;
    map->tab_input_registers[7] = (uint16_t)(int16_t)(-number % 3000);
    map->tab_input_bits[4] = number % 2;
    map->tab_bits[21] = number % 3 == 0;
    map->tab_registers[0] = counter = number & 0xffff;
    map->tab_input_bits[0] = four_phase && number > 0;
    acknowledged = 0;
    printf("made %d\n", number);
}

/* After every request: has the station acknowledged? */
static void go_on(void)
{
    if (!four_phase) {
        if (counter == 0 || map->tab_registers[50] == counter)
            show(counter + 1);
    } else if (counter == 0) {
        show(1);
    } else if (!acknowledged) {
        if (map->tab_bits[0]) {
            map->tab_input_bits[0] = 0;
            acknowledged = 1;
        }
    } else if (!map->tab_bits[0]) {
        show(counter + 1);
    }
}

static int answer(modbus_t *ctx)
{
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
    int length = modbus_receive(ctx, request);

    if (length > 0 && modbus_reply(ctx, request, length, map) >= 0)
        go_on();
    return length;
}

static void serve_tcp(modbus_t *ctx, int port)
{
    int listening = modbus_tcp_listen(ctx, 8), highest, fd;
    struct sockaddr_in here;
    socklen_t size = sizeof here;
    fd_set all, ready;

    if (listening < 0 || getsockname(listening, (struct sockaddr *)&here, &size) < 0) {
        fprintf(stderr, "cannot listen on %d: %s\n", port, modbus_strerror(errno));
        exit(1);
    }
    printf("listening %d\n", ntohs(here.sin_port));
    FD_ZERO(&all);
    FD_SET(listening, &all);
    highest = listening;
    for (;;) {
        ready = all;
        if (select(highest + 1, &ready, NULL, NULL, NULL) < 0)
            exit(1);
        for (fd = 0; fd <= highest; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listening) {
                int client = accept(listening, NULL, NULL);
                if (client >= 0) {
                    FD_SET(client, &all);
                    highest = client > highest ? client : highest;
                }
                continue;
            }
            modbus_set_socket(ctx, fd);
            if (answer(ctx) < 0) {
                close(fd);
                FD_CLR(fd, &all);
            }
        }
    }
}

int main(int argc, char **argv)
{
    modbus_t *ctx;
    int tcp;

    if (argc != 6)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    tcp = strcmp(argv[1], "tcp") == 0;
    four_phase = strcmp(argv[5], "four_phase") == 0;
    map = modbus_mapping_new(64, 64, 100, 64);
    ctx = tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 19200, 'N', 8, 1);
    if (map == NULL || ctx == NULL || modbus_set_slave(ctx, atoi(argv[3])) < 0)
        return 1;
    show(atoi(argv[4]));
    if (tcp)
        serve_tcp(ctx, atoi(argv[2]));
    if (modbus_connect(ctx) < 0) {
        fprintf(stderr, "cannot open %s: %s\n", argv[2], modbus_strerror(errno));
        return 1;
    }
    printf("listening 0\n");
    for (;;)
        answer(ctx);
}
