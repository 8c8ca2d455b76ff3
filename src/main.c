/* The program: the command line on the process's own streams. */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

int
main(int argc, char **argv)
{
    static struct cli cli;

    cli.in = stdin;
    cli.out = stdout;
    cli.err = stderr;
    cli.in_is_terminal = isatty(STDIN_FILENO) != 0;
    cli.out_is_terminal = isatty(STDOUT_FILENO) != 0;
    cli.err_is_terminal = isatty(STDERR_FILENO) != 0;
    return cli_run(&cli, argc, argv);
}
