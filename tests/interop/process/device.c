/* An ATmega328P with its serial bootloader, simulated by simavr, on a pseudo-terminal: a device to be programmed.
 *
 *   device BOOTLOADER.hex FLASH
 *
 * Prints the terminal's path, then runs until it is killed. At SIGUSR1 what is on the chip goes to the file FLASH.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <simavr/avr_uart.h>
#include <simavr/parts/uart_pty.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_hex.h>

static volatile sig_atomic_t asked;

static void ask(int number)
{
    (void)number;
    asked = 1;
}

static void show_flash(avr_t *avr, const char *path)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(avr->flash, 1, avr->flashend + 1, file) != avr->flashend + 1 || fclose(file) != 0)
        exit(3);
    printf("flash shown\n");
    fflush(stdout);
}

int main(int argc, char *argv[])
{
    static uart_pty_t uart;
    uint32_t size, base;
    uint8_t *boot;
    avr_t *avr = avr_make_mcu_by_name("atmega328p");

    if (argc != 3 || avr == NULL)
        return 2;
    avr_init(avr);
    avr->frequency = 16000000;
    boot = read_ihex_file(argv[1], &size, &base);
    if (boot == NULL)
        return 2;
    memset(avr->flash, 0xff, avr->flashend + 1);
    memcpy(avr->flash + base, boot, size);
    free(boot);
    avr->pc = avr->reset_pc = base;
    avr->codeend = avr->flashend;

    signal(SIGUSR1, ask);
    uart_pty_init(avr, &uart);
    uart_pty_connect(&uart, '0');
    printf("device at %s\n", uart.pty.slavename);
    fflush(stdout);
    for (;;) {
        int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed)
            return 1;
        if (asked) {
            asked = 0;
            show_flash(avr, argv[2]);
        }
    }
}
