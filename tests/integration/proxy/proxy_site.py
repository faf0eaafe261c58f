"""The configuration of proxy tests: one server, one upstream, one route."""


def site(*peers, upstream="", proxy="", server="", more="", to=None, top=""):
    """Text of a config file: peers are addresses of an upstream "u"; the other words go where their names say."""
    listed = "\n".join(f'    peer "{peer}" {{ max_fails = 0 }}' for peer in peers)
    named = f'upstream "u" {{\n{upstream}\n{listed}\n}}\n' if peers else ""
    return f"""
worker_class = {{worker}}
workers = 1
keepalive = 30
{top}
{named}
server "s" {{
    listen = "{{address}}"
    {server}
    {more}
    route "all" {{ proxy {{ to = "{to or 'upstream:u'}"  {proxy} }} }}
}}
"""
