"""The check of a source, without running any of it. Runs in a process that is thrown away."""

import ast
import warnings

# What `main` is given.
NAMES = ("params", "user_data", "sdk_client")
PARAMETERS_MAX = len(NAMES)
GIVEN = f"at most three: {', '.join(NAMES)}"


def describe_syntax(error):
    message = f"SyntaxError: {error.msg}"
    return f"{message} (line {error.lineno})" if error.lineno else message


def no_function(name):
    return f"The code defines no function named {name}; add `def {name}(params): ...`."


def check(code, name):
    """`{}` if the code compiles and defines the function, else what is wrong and where."""
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
    definition = definition_of(name, tree.body)
    if definition is None:
        return {"message": no_function(name)}
    if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
        given = definition.args
        message = None if definition.decorator_list else fault_of_parameters(name, given)
        if message:
            line, column = definition.lineno, definition.col_offset + 1
            return {"message": message, "line": line, "column": column}
    return {}


def fault_of_parameters(name, given):
    """What is wrong with the parameters of the function as they are written."""
    positional = len(given.posonlyargs) + len(given.args)
    needed = positional - len(given.defaults)
    named = [
        argument.arg
        for argument, default in zip(given.kwonlyargs, given.kw_defaults)
        if default is None
    ]
    return fault_of_counts(name, positional, needed, given.vararg is not None, named)


def fault_of_counts(name, positional, needed, any_number, named):
    """The same from what it takes: that many by position, of which some without a default."""
    if not positional and not any_number:
        return f"{name} takes no positional parameter; write `def {name}(params): ...`."
    if needed > PARAMETERS_MAX:
        return f"{name} needs {needed} positional parameters, and is given {GIVEN}."
    if named:
        return f"{name} needs the keyword argument {named[0]}, and is given {GIVEN}, by position."
    return None


def hint_for(undefined):
    """What to add to the text of a `NameError`; empty unless it is about what `main` is given."""
    if any(undefined == f"name '{name}' is not defined" for name in NAMES):
        return f". It is what main is given: write `def main({', '.join(NAMES)}): ...`"
    return ""


def definition_of(name, body):
    """The last statement of a module's body, or of a block in it, that binds `name`."""
    found = None
    for statement in body:
        if binds(name, statement):
            found = statement
        for block in ("body", "orelse", "finalbody"):
            if isinstance(statement, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
                found = definition_of(name, getattr(statement, block, [])) or found
        for handler in getattr(statement, "handlers", []):
            found = definition_of(name, handler.body) or found
    return found


def binds(wanted, statement):
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return statement.name == wanted
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return any((name.asname or name.name) in (wanted, "*") for name in statement.names)
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    else:
        return False
    names = (name for target in targets for name in ast.walk(target))
    return any(isinstance(name, ast.Name) and name.id == wanted for name in names)
