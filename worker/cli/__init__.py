"""The command line `muster`: each command is a door to the same intake, or a look at what there is."""

import io
import sys
from typing import Any

import click

from worker.cli import feed, groups, jobs, mail, serve, submit, tokens, upkeep, users, webhooks


class _Muster(click.Group):
    """Lists the commands in the order of use, and turns what goes wrong into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            from worker.cli.errors import told

            said = told(error)
            if said is None:
                raise
            click.echo(said.sentence, err=True)
            ctx.exit(said.code)


def _version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"muster {version('muster-worker')}")
        ctx.exit()


@click.group(
    cls=_Muster,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 a job was refused or failed; 2 bad usage or input; 3 something needed is unreachable. "
    "Settings come from MUSTER_* variables and muster.toml; `muster doctor` checks them.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version.")
def cli() -> None:
    """Muster carries out the jobs of an identity directory, each exactly once."""


for _command in (
    serve.demo, serve.up, submit.submit, feed.feed, jobs.jobs, users.users, groups.groups, mail.mail, jobs.refusals, tokens.token, webhooks.webhook,
    serve.worker,
    serve.api,
    upkeep.db, upkeep.doctor,
):  # fmt: skip
    cli.add_command(_command)


def main() -> None:
    """Run the command line; the entry point `muster`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot write ends no command
    sys.exit(cli(prog_name="muster"))
