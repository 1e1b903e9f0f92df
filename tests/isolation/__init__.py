"""A stranger gets in nowhere: a walk over everything the project registers, made from the registries themselves.

`world` has the parties and their rows, `routes` every URL of the project, `visitors` who knocks, `keys` which rows open
which route, `walk` the knocking, `mutants` the project with one scoping taken away at a time.
"""
