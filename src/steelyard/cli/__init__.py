"""The command `steelyard`: one verb, one file; a file is opened when its verb is used."""

import traceback as _traceback
from importlib import import_module as _import_module

import click as _click

__all__ = ["main"]

_VERBS = ("list", "measure", "diff", "convert", "scan", "report", "watch", "metrics", "demo")


def _remember(context: _click.Context, _: _click.Parameter, value: bool) -> None:
    if value:
        context.meta["steelyard.debug"] = True


def _print_version(context: _click.Context, _: _click.Parameter, value: bool) -> None:
    if value:
        from steelyard import __version__

        _click.echo(f"steelyard {__version__}")
        context.exit()


_DEBUG = _click.Option(
    ["--debug"],
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="Show where an error comes from.",
)
_VERSION = _click.Option(
    ["--version"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)


class _Verbs(_click.Group):
    """Opens a verb's file when it is asked for, and turns errors into a line and a status."""

    def list_commands(self, ctx: _click.Context) -> list[str]:
        # Not `list(…)`: in this package, once its verb was used, that is the verb.
        return [*_VERBS]

    def get_command(self, ctx: _click.Context, cmd_name: str) -> _click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: _click.Command = getattr(_import_module(f"{__name__}.{cmd_name}"), cmd_name)
        if _DEBUG not in command.params:
            command.params.append(_DEBUG)
        return command

    def invoke(self, ctx: _click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (_click.ClickException, _click.Abort, _click.exceptions.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            _click.echo("Interrupted.", err=True)
            ctx.exit(130)
        except Exception as error:
            if ctx.meta.get("steelyard.debug"):
                _traceback.print_exc()
            else:
                _click.echo(_in_words(error), err=True)
            # Not Python's 1, which says that a command found something.
            ctx.exit(2)


def _in_words(error: Exception) -> str:
    from steelyard.errors import SteelyardError

    if isinstance(error, SteelyardError):
        return f"Error: {error}"
    first = (str(error).strip().splitlines() or ["no message"])[0]
    what = first if isinstance(error, OSError) else f"{type(error).__name__}: {first}"
    return f"Error: {what}\nWith --debug it says where."


main = _Verbs(
    "steelyard",
    params=[_DEBUG, _VERSION],
    help="Reach, weigh and rewrite the weights of Keras models.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
