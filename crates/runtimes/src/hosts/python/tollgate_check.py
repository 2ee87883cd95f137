"""The check of a source, without running any of it. Runs in a process that is thrown away."""

import ast
import warnings

NO_MAIN = "The code defines no function named main; add `def main(params): ...`."
# What `main` is given.
NAMES = ("params", "user_data", "sdk_client")
PARAMETERS_MAX = len(NAMES)
GIVEN = f"at most three: {', '.join(NAMES)}"
NO_PARAMETERS = "main takes no positional parameter; write `def main(params): ...`."


def describe_syntax(error):
    message = f"SyntaxError: {error.msg}"
    return f"{message} (line {error.lineno})" if error.lineno else message


def check(code):
    """`{}` if the code compiles and defines `main`, else what is wrong and where."""
    warnings.simplefilter("ignore")
    code = code.lstrip("\ufeff")
    try:
        tree = compile(code, "function.py", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        compile(code, "function.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        name = type(error).__name__
        return {"message": f"{name}: {error.msg}", "line": error.lineno, "column": error.offset}
    except ValueError as error:
        return {"message": f"SyntaxError: {error}"}
    except (RecursionError, MemoryError):
        return {"message": "The code is nested too deeply, or too large, to be compiled."}
    definition = main_of(tree.body)
    if definition is None:
        return {"message": NO_MAIN}
    if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
        given = definition.args
        message = None if definition.decorator_list else fault_of_parameters(given)
        if message:
            line, column = definition.lineno, definition.col_offset + 1
            return {"message": message, "line": line, "column": column}
    return {}


def fault_of_parameters(given):
    """What is wrong with the parameters of `main` as they are written."""
    positional = len(given.posonlyargs) + len(given.args)
    needed = positional - len(given.defaults)
    named = [
        argument.arg
        for argument, default in zip(given.kwonlyargs, given.kw_defaults)
        if default is None
    ]
    return fault_of_counts(positional, needed, given.vararg is not None, named)


def fault_of_counts(positional, needed, any_number, named):
    """The same from what `main` takes: that many by position, of which some without a default."""
    if not positional and not any_number:
        return NO_PARAMETERS
    if needed > PARAMETERS_MAX:
        return f"main needs {needed} positional parameters, and is given {GIVEN}."
    if named:
        return f"main needs the keyword argument {named[0]}, and is given {GIVEN}, by position."
    return None


def hint_for(undefined):
    """What to add to the text of a `NameError`; empty unless it is about what `main` is given."""
    if any(undefined == f"name '{name}' is not defined" for name in NAMES):
        return f". It is what main is given: write `def main({', '.join(NAMES)}): ...`"
    return ""


def main_of(body):
    """The last statement of a module's body, or of a block in it, that binds `main`."""
    found = None
    for statement in body:
        if binds_main(statement):
            found = statement
        for block in ("body", "orelse", "finalbody"):
            if isinstance(statement, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
                found = main_of(getattr(statement, block, [])) or found
        for handler in getattr(statement, "handlers", []):
            found = main_of(handler.body) or found
    return found


def binds_main(statement):
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return statement.name == "main"
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return any((name.asname or name.name) in ("main", "*") for name in statement.names)
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    else:
        return False
    names = (name for target in targets for name in ast.walk(target))
    return any(isinstance(name, ast.Name) and name.id == "main" for name in names)
