#!/usr/bin/python3
"""Writes templates.json: templates, contexts, and what Jinja2 renders, set up as Hugging Face's apply_chat_template.

Run with a Python that has Jinja2 (Debian's python3-jinja2). The templates are written for these tests, with the
constructs that the published ones of Llama 3.1, Mistral, Gemma, Phi and Qwen use.
"""
import datetime
import json
import os
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

NOW = 1732290000  # 2024-11-22 in UTC


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("support"), [], [], body).set_lineno(line)

    def support(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(f)
    return env


def render(template, context):
    """{"expected": text} or {"error": message}."""
    try:
        return {"expected": environment().from_string(template).render(**context)}
    except Exception as e:  # whatever the oracle refuses, the subject must refuse
        return {"error": f"{type(e).__name__}: {e}"}


MODELS = {}

MODELS["llama31"] = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message comes first, so it can be taken out here. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if builtin_tools is defined or tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{%- if builtin_tools is defined %}
    {{- "Tools: " + builtin_tools | reject('equalto', 'code_interpreter') | join(", ") + "\\n\\n"}}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {{- "You can call these functions, as JSON:\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("There is no first user message to put the tools in!") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {{- "Given these functions, answer with a JSON call.\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {%- if builtin_tools is defined and tool_call.name in builtin_tools %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- "<|python_tag|>" + tool_call.name + ".call(" }}
            {%- for arg_name, arg_val in tool_call.arguments | items %}
                {{- arg_name + '="' + arg_val + '"' }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- endif %}
            {%- endfor %}
            {{- ")" }}
        {%- else  %}
            {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
            {{- '{"name": "' + tool_call.name + '", ' }}
            {{- '"parameters": ' }}
            {{- tool_call.arguments | tojson }}
            {{- "}" }}
        {%- endif %}
        {%- if builtin_tools is defined %}
            {{- "<|eom_id|>" }}
        {%- else %}
            {{- "<|eot_id|>" }}
        {%- endif %}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

MODELS["mistral"] = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}

{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, roles must alternate user/assistant!") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}
                {{- ", " }}
            {%- else %}
                {{- "]" + eos_token }}
            {%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" or message["role"] == "tool_results" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""

MODELS["gemma"] = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

MODELS["phi"] = """{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"""

MODELS["phi3"] = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}{% elif (message['role'] == 'assistant') %}{% generation %}{{message['content'] + '<|end|>' + '\n'}}{% endgeneration %}{% endif %}{% endfor %}"""

MODELS["schema_macros"] = """{%- macro render_type(spec, level=0) -%}
    {%- if spec.type == "array" -%}
        {{- render_type(spec["items"], level + 1) }}[]
    {%- elif spec.type is iterable and spec.type is not string -%}
        {{- spec.type | join(" | ") -}}
    {%- elif spec.enum is defined and spec.enum -%}
        {{- '"' + spec.enum | join('" | "') + '"' -}}
    {%- elif spec.type == "object" -%}
        { {%- for name, sub in (spec.properties or {}).items() | list %}
{{ "  " * (level + 1) }}{{ name }}{{ "" if name in spec.get("required", []) else "?" }}: {{ render_type(sub, level=level + 1) }}
        {%- if not loop.last %},{% endif %}
        {%- endfor %}
{{ "  " * level }}}
    {%- else -%}
        {{- spec.type | default("any") -}}
    {%- endif -%}
{%- endmacro -%}
{%- if tools -%}
namespace functions {
{% for tool in tools | selectattr("type", "equalto", "function") | map(attribute="function") %}
// {{ tool.description | default("No description", true) | capitalize }}
type {{ tool.name }} = (_: {{ render_type(tool.parameters) }}) => any;
{% endfor %}
} // namespace functions
{%- endif %}
{% for message in messages if message.content is string and message.role in ["user", "assistant"] %}
{{ loop.index }}/{{ loop.length }} {{ message.role.upper() }}: {{ message.content.strip().replace("\n", " ") }}
{%- if loop.previtem is defined %} (after {{ loop.previtem.role }}){% endif %}
{% else %}
nothing
{% endfor %}
"""

TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "weather of a <city>, \"now\" & here",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Zürich, 東京"}, "days": {"type": "integer"},
        "units": {"type": "string", "enum": ["c", "f"]}, "tags": {"type": "array", "items": {"type": "string"}},
        "box": {"type": "object", "properties": {"x": {"type": ["number", "null"]}, "y": {}}, "required": ["x"]}},
        "required": ["city"]}, "return": {"type": "number"}}}]
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}}]}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "{\"temp\": 21.5}"}


def conversations():
    user, answer = {"role": "user", "content": " Hello <b>you</b>.\n"}, {"role": "assistant", "content": " Hi! \n"}
    system = {"role": "system", "content": "Be brief."}
    parts = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is this? "}]}
    yield "user", {"messages": [user]}
    yield "system_user", {"messages": [system, user]}
    yield "turns", {"messages": [system, user, answer, {"role": "user", "content": "And now?"}]}
    yield "wrong_order", {"messages": [answer, user]}
    yield "parts", {"messages": [system, parts]}
    yield "tools", {"messages": [system, user], "tools": TOOLS}
    yield "tool_round", {"messages": [user, CALL, RESULT], "tools": TOOLS}
    yield "tools_in_system", {"messages": [system, user], "tools": TOOLS, "tools_in_user_message": False}
    yield "builtin_tools", {"messages": [user, {"role": "assistant", "tool_calls": [
        {"function": {"name": "brave_search", "arguments": {"query": "x", "lang": "de"}}}]}],
        "builtin_tools": ["brave_search", "code_interpreter"]}
    yield "tool_text_in_message", {"messages": [dict(system, tools="[]"), user]}


CONTEXT = {
    "s": "Hello, Wörld! 東京 😀", "blank": "  \t pad \n ", "empty": "", "n": 7, "neg": -3, "x": 2.5, "t": True, "f": False,
    "nothing": None, "list": [3, 1, 2], "words": ["b", "A", "c", "a"], "d": {"b": 1, "a": [1, {"k": "v"}], "items": "shadowed"},
    "rows": [{"role": "user", "n": 1, "tags": ["p", "q"]}, {"role": "tool", "n": 5}, {"role": "user", "n": 3, "tags": []}],
    "quote": "it's \"quoted\" \\ back\nline\ttab \x01 \x7f é \u2028", "big": 18446744073709551615, "floats":
    [1.0, 0.1, 1e16, 1e-5, 123456789.125, -0.0, 1e22, 5e-324, 3.0e-4, 100000.0], "multi": "a\nb\n\nc", "num": " 42 ",
}

EXPRESSIONS = r"""
s
s|length
s[0], s[-1], s[7:9], s[::-1], s[1:10:3], s[-3:], s[:-4], s[100:], s[5:2]
s.upper(), s.lower(), s.title(), s.capitalize(), s.swapcase()
s|upper, s|lower, s|title, s|capitalize
'straße ǆ ŉ İ I ς'.upper()
'STRASSE ÀÉ'.lower(), 'hello wORLD o\'neil x-ray 3rd'.title(), 'hello wORLD o\'neil x-ray (foo) [bar] 3rd'|title
blank.strip() ~ '|' ~ blank.lstrip() ~ '|' ~ blank.rstrip() ~ '|'
blank|trim ~ '|', 'xxaxx'|trim('x'), 'xyaxy'.strip('yx'), 'xyaxy'.lstrip('x'), 'abc'.rstrip('bc')
'a,b,,c'.split(','), 'a,b,,c'.split(',', 2), ' a  b c '.split(), ' a  b c '.split(none, 1), 'a,b,c'.rsplit(',', 1), ' a b  c '.rsplit(none, 1)
'</think>a</think>b'.split('</think>')[-1], 'x'.split('</think>')[0]
multi.splitlines(), multi.splitlines(true), 'a\r\nb\x0bc'.splitlines()
'a=b=c'.partition('='), 'a=b=c'.rpartition('='), 'abc'.partition('='), 'abc'.rpartition('=')
s.startswith('Hello'), s.endswith(('x', '😀')), s.startswith(('a', 'b')), ''.startswith('')
s.replace('l', 'L'), s.replace('l', 'L', 2), 'abc'.replace('', '-'), s|replace('o', '0'), s|replace('l', '1', 1)
s.find('W'), s.find('zz'), s.rfind('l'), s.index('東'), s.count('l'), 'aaa'.count('aa'), 'é'.count('')
'abc'.removeprefix('a'), 'abc'.removesuffix('bc'), 'abc'.removeprefix('x')
'7'.zfill(3), '-7'.zfill(4), 'ab'.ljust(5, '.'), 'ab'.rjust(5, '.'), 'ab'.center(5, '.'), 'abc'.center(6, '.'), 'ab'.center(4)
'abc'.isalpha(), 'ab1'.isalnum(), '12'.isdigit(), '½'.isnumeric(), ' '.isspace(), 'abc'.islower(), 'ABC'.isupper(), ''.isalpha(), 'Ab'.islower(), '1a'.islower()
', '.join(words), '-'.join('abc'), words|join, words|join(', '), [1, 'a', none, 2.0]|join('/'), rows|join(', ', attribute='role')
'{} and {}'.format('a', 1), '{1}{0}'.format('a', 'b'), '{x}'.format(x=3), '{{}}'.format()
'%s is %d or %5.2f'|format('a', 3, 2.5), '%05d|%-5s|%+d|%x|%%' % (42, 'ab', 7, 255), '%s' % 'x', '%r' % 'x'
quote|tojson
quote|string|tojson(ensure_ascii=true)
s|tojson(ensure_ascii=true)
[quote]
d
d|tojson
d|tojson(indent=2)
d|tojson(indent=4, sort_keys=true)
d|tojson(separators=(',', ':'))
[]|tojson(indent=2), {}|tojson(indent=2), [[], {}]|tojson(indent=1)
floats
floats|tojson
{1: 'a', 2.5: 'b', none: 'c', true: 'd'}|tojson
{'a': (1, 2), 'b': none, 'c': true}|tojson
big, big|tojson, big + 0.0
1e400|tojson
list, list|tojson, (1,), (1, 2), (), [none, true, 'x']
list|first, list|last, list|length, list|sum, list|max, list|min, list|sort, list|sort(reverse=true), list|reverse|list
[]|first is defined, []|last is undefined, ''|first is defined
words|sort, words|sort(case_sensitive=true), words|unique|list, words|map('upper')|list, words|map('upper')|join('+')
rows|map(attribute='role')|list, rows|map(attribute='tags', default='-')|list, rows|map(attribute='tags.0', default='-')|list
rows|selectattr('role', 'equalto', 'user')|list|length, rows|rejectattr('role', 'eq', 'user')|map(attribute='n')|list
rows|selectattr('tags')|list, rows|selectattr('tags', 'defined')|map(attribute='n')|list, rows|selectattr('n', 'gt', 2)|map(attribute='n')|list
rows|sort(attribute='n', reverse=true)|map(attribute='n')|list, rows|sum(attribute='n'), rows|max(attribute='n')
[1, none, 0, 'a', '']|select|list, [1, none, 0]|reject('none')|list, [1, 2, 3, 4]|select('even')|list, [1, 2, 3]|select('in', [2, 3])|list
d|items|list, d.items()|list, d.keys()|list, d.values()|list, d|list, d|length
d.get('a'), d.get('zz'), d.get('zz', 5), d['items'], d.b, d['b'], d.zz is defined, d['zz'] is defined
d|dictsort, d|dictsort(reverse=true), {'B': 1, 'a': 0}|dictsort, {'B': 1, 'a': 0}|dictsort(true), {'x': 2, 'y': 1}|dictsort(by='value')
undefined_name|default('dflt'), ''|default('x'), ''|default('x', true), nothing|default('x'), nothing|default('x', true), n|d(1)
undefined_name is defined, undefined_name is undefined, n is defined, s is string, d is mapping, list is sequence, list is iterable, s is iterable
d is sequence, n is number, x is number, t is number, t is integer, n is integer, x is float, t is boolean, n is boolean, nothing is none, n is none
t is true, t is false, n is true, f is false, n is odd, n is even, n is divisibleby 7, n is divisibleby(2), 'abc' is lower, 'ABC' is upper
n is eq 7, n is equalto(7), n is sameas 7, 'b' is in 'abc', 3 is in list, n is not in list, n is lt 8, n is ge 7, s is callable, range is callable
(n is not none and n > 3), not n, not not n, n and 'yes', f or 'no', nothing or empty or 'last', t and f or t
1 if t, 1 if f else 2, (1 if f) is defined, 'a' if f else 'b' if f else 'c'
1 + 2 * 3, (1 + 2) * 3, 7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3, 7 / 2, 6 / 2, 2 ** 10, 2 ** -1, -2 ** 2, 7.5 // 2, 7.5 % 2, -7.5 % 2
1.0, 3.10, 1e3, 1_000, 1.5e-7, 0.1 + 0.2, 1 / 3, 10 ** 15 * 1.0, 1e15 * 10, 2.0 ** 0.5
'a' ~ 1 ~ 2.0 ~ none ~ true ~ [1, 'x'], 'a' * 3, 3 * 'ab', 'a' * -1, [1] * 2 + [2], (1, 2) + (3,)
1 < 2 < 3, 1 < 3 < 2, 1 == 1.0, true == 1, 'a' < 'b', 'Z' < 'a', [1, 2] < [1, 3], 1 != 2, 'a' == 1, none == none, [1, [2]] == [1, [2]], {'a': 1} == {'a': 1.0}
'a' in 'abc', 'd' not in 'abc', 1 in [1, 2], 'b' in d, 'zz' in d, 'role' in rows[0], undefined_name in [1], 1 not in (2, 3), true in [1]
[1, 2, 3][1:], [1, 2, 3][::-1], [1, 2, 3][-2], [1, 2, 3][5] is defined, (1, 2, 3)[1], 'abc'[5] is defined, [1, 2, 3][:2], [1, 2, 3, 4, 5][1:5:2], [1, 2, 3][-100:100]
range(3)|list, range(1, 4)|list, range(5, 0, -2)|list, range(0)|list
dict(a=1, b='x'), dict({'a': 1}, b=2), namespace(a=1).a
'42'|int, num|int, 'x'|int, 'x'|int(5), '3.7'|int, 3.9|int, -3.9|int, '0x1f'|int(base=16), 'ff'|int(0, 16), true|int, none|int
'2.5'|float, 'x'|float, 'x'|float(1.5), 3|float, ' 1e3 '|float
2.567|round(2), 2.5|round, 3.5|round, -2.5|round, 2.4|round(0, 'ceil'), 2.6|round(0, 'floor'), 1234|round(-2), 7|round, 2.675|round(2)
-3|abs, 2.5|abs, neg|abs, [1, 2.5]|sum
n|string, x|string, nothing|string, list|string, s|string|length
'<a href="x">&\'</a>'|escape
'<b>'|safe ~ 'x'
'ΑΣ ΣΑΣ Σ.'.lower() ~ 'ﬁ ß ŉ ǆ'.title() ~ 'ﬁx'|capitalize ~ 'ŉ'.capitalize()
multi|indent, multi|indent(2), multi|indent(2, true), multi|indent(2, true, true), multi|indent('> ', true), ''|indent
s|wordcount, undefined_name is callable, 2.5 is odd, 2.0 is even, 2.5 is divisibleby 2, 'one two  three'|wordcount, 'abc'|reverse, 'abc'|list, 'abc'|reverse|list
'a' 'b' "c", 'tab\there', 'nl\\n', 'uni\u00e9\x41\101', "dq\"x", 'sq\'x', 'unknown\q', 'smile \U0001F600'
words|map('replace', 'a', 'z')|list, ['1', 'x']|map('int', 5)|list, [' a ', 'b ']|map('trim')|list
{'a': {'b': [10, 20]}}.a.b[1], {'a': {'b': [10, 20]}}['a']['b'].0, rows.0.role, rows[1]['n']
true, True, false, False, none, None
[1, 2,], {'a': 1,}, (1, 2,), [ ], { }
undefined_name
undefined_name|length, undefined_name|upper, undefined_name|list, undefined_name|string, undefined_name|join(','), undefined_name|first is defined
undefined_name ~ 'x'
rows|map(attribute='role')|unique|join(','), rows|map(attribute='role')|first
words|attr('zz') is defined
[3, 1]|sort|first, ['b', 'a']|sort|join
n == 7 and s is string or undefined_name.x
{} or [] or 0 or 0.0 or '' or none or 'end'
""".strip().split("\n")

ERRORS = r"""
{{ undefined_name.x }}
{{ undefined_name + 1 }}
{{ undefined_name() }}
{{ nothing.x.y }}
{{ 1 + 'a' }}
{{ 'a' + 1 }}
{{ 'a' - 'b' }}
{{ 1 < 'a' }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ none|length }}
{{ 5|length }}
{{ 5|list }}
{{ 1 in 5 }}
{{ 1 in 'abc' }}
{% for x in 5 %}{% endfor %}
{% for x in none %}{% endfor %}
{% for a, b in [[1]] %}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{{ raise_exception('own message') }}
{{ undefined_name|tojson }}
{{ range|tojson }}
{{ s.nosuch() }}
{{ s.split('') }}
{{ list.append(1) }}
{{ d.update({}) }}
{{ d.pop('a') }}
{{ s.index('zz') }}
{{ none|items|list }}
{{ 'abc'|trim(1, 2, 3) }}
{{ s.upper(1) }}
{{ s.replace('a') }}
{{ 'x'|nosuchfilter }}
{{ x is nosuchtest }}
{{ [1, 'a']|sort }}
{{ ', '.join([1]) }}
{{ 'x' }
{% if x %}
{% for x in list %}
{% endif %}
{% else %}
{% if %}x{% endif %}
{{ }}
{{ 1 + }}
{{ (1 }}
{{ [1 }}
{{ {'a' 1} }}
{{ 'abc }}
{% set x %}
{% set = 1 %}
{% set n.x = 1 %}
{% nosuchtag %}
{# open
{{ f(a=1, 2) }}
{{ 1 @ 2 }}
{{ ) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{% macro m(a=1, b) %}{% endmacro %}
{{ x is defined is none }}
{{ list[:'a'] }}
{{ -'a' }}
{{ 'a'|abs }}
{{ range(0, 10, 0) }}
{{ 5() }}
{{ '%d' % 'a' }}
{{ '%s %s' % 'a' }}
{{ list|join(', ').nosuch.more }}
{% set true = 1 %}
{{ '\x4' }}
{{ {[1]: 2} }}
{{ namespace(1) }}
{{ list in d }}
{{ undefined_name|int }}
{{ undefined_name|float(1) }}
{{ 'a' % 1 }}
{{ 5|indent }}
""".strip().split("\n")

STATEMENTS = [
    "{% if t %}a{% elif n %}b{% else %}c{% endif %}|{% if f %}a{% elif n %}b{% else %}c{% endif %}|{% if f %}a{% elif empty %}b{% else %}c{% endif %}",
    "{% for i in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }};{% endfor %}",
    "{% for i in list %}{{ loop.previtem|default('-') }}<{{ i }}>{{ loop.nextitem|default('-') }} {% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}{% for i in list if i > 5 %}x{% else %}none left{% endfor %}",
    "{% for i in list if i != 1 %}{{ loop.index }}/{{ loop.length }}={{ i }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for k, v in d|items %}{{ k }}{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for c in 'aé😀' %}[{{ c }}]{% endfor %}{% for x in undefined_name %}x{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in list %}{% for j in words %}{% if j == 'A' %}{% break %}{% endif %}{{ i }}{{ j }}{{ loop.depth }} {% endfor %}{% endfor %}",
    "{% set a = 1 %}{% for i in list %}{{ a }}{% set a = a + i %}{{ a }} {% endfor %}{{ a }}",
    "{% set ns = namespace(a=1, seen=[]) %}{% for i in list %}{% set ns.a = ns.a + i %}{% set ns.seen = ns.seen + [i] %}{% endfor %}{{ ns.a }}{{ ns.seen }}{{ ns.zz is defined }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d2) = [3, 4] %}{{ c }}{{ d2 }}{% set tup = 1, %}{{ tup }}",
    "{% set x %}  block {{ n }}\n{% endset %}[{{ x }}]{{ x is string }}{% set y | upper | trim %} shout {% endset %}[{{ y }}]",
    "{% if t %}{% set inner = 5 %}{% endif %}{{ inner }}{% for i in [1] %}{% set gone = 1 %}{% endfor %}{{ gone is defined }}",
    "{% macro m(a, b=2, c=a) %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ m(1) }}{{ m(1, c=9) }}{{ m(b=5, a=6) }}{{ m() }}{{ m is callable }}",
    "{% macro fact(k) %}{% if k <= 1 %}1{% else %}{{ k * (fact(k - 1)|int) }}{% endif %}{% endmacro %}{{ fact(6) }}",
    "{% macro outer() %}{{ later }}{{ loop is defined }}{% endmacro %}{% set later = 'set after' %}{% for i in [1] %}{{ outer() }}{% endfor %}",
    "{% set glob = 'g' %}{% macro m() %}{{ glob }}{% set glob = 'local' %}{{ glob }}{% endmacro %}{{ m() }}{{ glob }}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% set a = 5 %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b')|trim %} aa {% endfilter %}",
    "{% raw %}{{ not }} {% rendered %}{% endraw %}|{%- raw -%}  x  {%- endraw -%}  y",
    "a {#- comment -#} b {# plain #} c\n{# line #}\nd",
    "  {% if t %}\n    indented\n  {% endif %}\nafter\n",
    "  {%+ if t %}\n    kept\n  {%+ endif +%}\nafter",
    "x {%- if t -%}  y  {%- endif -%} z",
    "a\n{%- if t %}\nb\n{%- endif %}\nc\n\n",
    "{{ 'a' -}}   b   {{- 'c' }}\n{{ 'd' }}\n",
    "line\r\nbreaks\rhere\n",
    "{% if t %}\r\nx\r\n{% endif %}\r\n",
    "\t{% set q = 1 %}\t{{ q }}\n\t{# c #}\n\tend",
    "text {% set q = 1 %}\n  {% set r = 2 %}  \n  tail",
    "{%if t%}tight{%endif%}{{n}}{{ {'a':{'b':1}}['a']['b'] }}{{ {'a': {}} }}",
    "{% generation %}gen {{ n }}{% set leak = 1 %}{% endgeneration %}{{ leak is defined }}",
    "{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %b %Y') }}",
    "{% for m in rows %}{{ loop.cycle('a', 'b') }}{{ m.role }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% set l = [] %}{% for r in rows %}{% if r.tags is defined and r.tags %}{{ r.tags|join('-') }}{% endif %}{% endfor %}{{ l }}",
    "{{ rows|selectattr('role', 'equalto', 'nobody') is defined }}{% if rows|selectattr('role', 'equalto', 'nobody')|list %}x{% else %}empty{% endif %}",
    "{% if rows|selectattr('role', 'equalto', 'nobody') %}a generator is true{% endif %}",
    "{% for x in list|sort %}{{ x }}{% endfor %}{% for x in rows|map(attribute='n') %}{{ loop.length }}{{ x }}{% endfor %}",
    "{% for row in rows|reverse %}{{ row.n }}{% endfor %}{% for i in range(2, -1, -1) %}{{ i }}{% endfor %}",
    "{{ messages is defined }}{{ loop is defined }}{{ self is defined and false }}",
    "{% set f2 = s.upper %}{{ f2() }}{% set up = d.get %}{{ up('b') }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{% set mm = m %}{{ mm(3) }}{{ m('<b>') }}",
    "{% for i in list %}{% set loop_last = loop.last %}{{ loop_last }}{% endfor %}",
    "{% if 'a' is string and not (n is none) or undefined_name is defined %}ok{% endif %}",
    "{{ 'x' if n is defined else 'y' }}{{ 'x' if n is none else 'y' }}{{ ('x' if n is string) or 'z' }}",
    "{%- for m in rows -%}\n  {{- m.role }}: {{ m.n -}}\n{%- endfor -%}\n",
    "{% if t %}a\n{% endif %}\n\nb\n{% if f %}\n{% endif %}c",
    "{{ '\\n' }}{{ \"\n\" }}{{ 'a\\\nb' }}",
    "{{ '{{' }}{{ '}}' }}{{ '{%' }}{{ \"%}\" }}",
    "%} }} #} { % text {",
    "{{ n }}{#- {{ hidden }} -#}\n\n  {{ n }}",
    "{% set x = 1 -%}\n\n   {{ x }}",
    "{% set outer_v = 1 %}{% for i in [1, 2] %}{% if i == 2 %}{{ v2 is defined }}{% endif %}{% set v2 = i %}{% endfor %}",
    "",
    "\n",
    "\n\n",
    "plain",
]


def main():
    rows = []
    for model, template in MODELS.items():
        for name, context in conversations():
            for generation in (True, False):
                full = dict(context, add_generation_prompt=generation, bos_token="<s>", eos_token="</s>")
                rows.append(dict(name=f"{model}/{name}/{generation}", template=model, context=full, **render(template, full)))
    for i, line in enumerate(EXPRESSIONS):
        template = "{{ [" + line + "] }}" if ", " in line else "{{ " + line + " }}"
        rows.append(dict(name=f"expression {i + 1}", source=template, **render(template, CONTEXT)))
    for i, template in enumerate(STATEMENTS):
        rows.append(dict(name=f"statement {i + 1}", source=template, **render(template, CONTEXT)))
    for i, template in enumerate(ERRORS):
        row = render(template, CONTEXT)
        assert "error" in row, (template, row)
        rows.append(dict(name=f"error {i + 1}", source=template, **row))
    out = {"now": NOW, "jinja": jinja2.__version__, "models": MODELS, "context": CONTEXT, "rows": rows}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(out, file, ensure_ascii=False, indent=0)
        file.write("\n")
    errors = [r for r in rows if "error" in r and not r["name"].startswith("error")]
    print(len(rows), "rows;", "unexpected errors:" if "-v" in sys.argv else "", *(
        [(r["name"], r["error"]) for r in errors] if "-v" in sys.argv else [len(errors)]), sep="\n")


if __name__ == "__main__":
    main()
