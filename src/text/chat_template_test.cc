#include "text/chat_template.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <boost/json.hpp>

#include "base/json_file.h"
#include "text/test_util.h"

namespace tutti::text {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

Result<std::string> render(std::string source, const json::object& context = {},
                           const ChatTemplateOptions& options = {}) {
  auto chat_template = ChatTemplate::parse(std::move(source));
  if (!chat_template) return std::move(chat_template).error();
  return (*chat_template)->render(context, options);
}

std::string message_of(std::string source) {
  const Result<std::string> result = render(std::move(source));
  EXPECT_FALSE(result.ok()) << (result.ok() ? *result : "");
  return result.ok() ? "" : result.error().message();
}

// templates.json is what Jinja2 renders (tests/data/text/make_templates.py).
TEST(ChatTemplate, EqualsJinja2) {
  setenv("TZ", "UTC", 1);
  tzset();
  auto file = read_json_object(std::filesystem::path(TUTTI_TEST_DATA) / "text" / "templates.json");
  ASSERT_TRUE(file.ok()) << file.status().message();
  const ChatTemplateOptions options{.now = static_cast<std::time_t>((*file)["now"].as_int64())};
  size_t rows = 0;
  for (const json::value& value : (*file)["rows"].as_array()) {
    const json::object& row = value.as_object();
    const bool model = row.contains("template");
    const std::string source(model
                                 ? (*file)["models"].at(row.at("template").as_string()).as_string()
                                 : row.at("source").as_string());
    const json::object& context = (model ? row.at("context") : (*file)["context"]).as_object();
    const Result<std::string> rendered = render(source, context, options);
    const std::string name(row.at("name").as_string());
    if (row.contains("error")) {
      EXPECT_FALSE(rendered.ok()) << name << ": " << source << "\nJinja2: " << row.at("error")
                                  << "\nrendered: " << (rendered.ok() ? *rendered : "");
    } else {
      ASSERT_TRUE(rendered.ok() || !model) << name << ": " << rendered.status().message();
      EXPECT_TRUE(rendered.ok()) << source << "\n" << rendered.status().message();
      if (rendered)
        EXPECT_EQ(*rendered, std::string_view(row.at("expected").as_string()))
            << name << ": " << source;
    }
    ++rows;
  }
  EXPECT_GT(rows, 300u);
}

TEST(ChatTemplate, ErrorsNameTheConstructAndTheLine) {
  EXPECT_EQ(message_of("a\n\n{% include 'x' %}"),
            "Chat template, line 3: the statement 'include' is not supported.");
  EXPECT_EQ(message_of("{{ x }}\n{{ x | nosuch }}"),
            "Chat template, line 2: the filter 'nosuch' is not supported.");
  EXPECT_EQ(message_of("{{ x is nosuch }}"),
            "Chat template, line 1: the test 'nosuch' is not supported.");
  EXPECT_EQ(message_of("\n{{ f(*args) }}"),
            "Chat template, line 2: an argument list with '*' is not supported.");
  EXPECT_EQ(message_of("{%- if x -%}\n\n{{ missing.attr }}{% endif %}{{ missing.attr }}"),
            "Chat template, line 3: 'missing' is undefined.");
  EXPECT_EQ(message_of("{{ raise_exception('Roles must alternate!') }}"),
            "Chat template, line 1: Roles must alternate!.");
  EXPECT_EQ(ChatTemplate::parse("{% include 'x' %}").status().code(), StatusCode::kUnimplemented);
  EXPECT_EQ(ChatTemplate::parse("{% if %}").status().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(ChatTemplate::parse("\xFF").ok());
}

TEST(ChatTemplate, WorkOutputAndDepthAreBounded) {
  const auto code = [](std::string source) { return render(std::move(source)).status().code(); };
  // Doubling: text, lists that share their parts, output.
  EXPECT_EQ(code("{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + "
                 "ns.x %}{% endfor %}"),
            StatusCode::kResourceExhausted);
  EXPECT_NE(code("{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, "
                 "ns.x] %}{% endfor %}"
                 "{{ ns.x }}"),
            StatusCode::kOk);
  EXPECT_EQ(code("{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, "
                 "ns.x] %}{% endfor %}"
                 "{{ ns.x|tojson }}"),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{% set ns = namespace(x=[1]) %}{% set ns.y = ns.x %}{% for i in range(60) %}{% "
                 "set ns.x = [ns.x, ns.x] %}"
                 "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}"),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(
      code("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"),
      StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{{ 'x' * 99999999999 }}"), StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{{ [1] * 99999999999 }}"), StatusCode::kResourceExhausted);
  EXPECT_EQ(code("{{ 'x'.center(99999999999) }}"), StatusCode::kResourceExhausted);
  EXPECT_NE(code("{{ 'x'|indent(99999999999) }}"), StatusCode::kOk);
  EXPECT_NE(code("{{ range(99999999999) }}"), StatusCode::kOk);
  EXPECT_NE(code("{{ '%99999999999d' % 1 }}"), StatusCode::kOk);
  EXPECT_EQ(code("{% set x = 'x' * 1000000 %}{% for i in range(1000) %}{{ x }}{% endfor %}"),
            StatusCode::kResourceExhausted);
  // Depth of the source, of macro calls, of values.
  EXPECT_THAT(message_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), HasSubstr("deeper"));
  const auto repeat = [](std::string_view text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  EXPECT_THAT(message_of("{{ " + repeat("(", 100000) + "1" + repeat(")", 100000) + "}}"),
              HasSubstr("deeper"));
  EXPECT_THAT(message_of("{{ " + repeat("[", 100000) + "1" + repeat("]", 100000) + "}}"),
              HasSubstr("deeper"));
  EXPECT_THAT(message_of("{{ " + repeat("-", 100000) + "1 }}"), HasSubstr("deeper"));
  EXPECT_THAT(message_of("{{ " + repeat("not ", 100000) + "1 }}"), HasSubstr("deeper"));
  EXPECT_THAT(message_of("{{ 1" + repeat(" + 1", 100000) + " }}"), HasSubstr("deeper"));
  EXPECT_THAT(message_of("{{ x" + repeat("|trim", 100000) + " }}"), HasSubstr("deeper"));
  EXPECT_THAT(message_of("{{ x" + repeat(".a", 100000) + " }}"), HasSubstr("deeper"));
  EXPECT_THAT(message_of(repeat("{% if 1 %}", 100000)), HasSubstr("deeper"));
  EXPECT_THAT(message_of(repeat("{% for i in x %}", 100000)), HasSubstr("deeper"));
  EXPECT_THAT(message_of("{% set " + repeat("(", 100000) + "a" + repeat(")", 100000) + " = 1 %}"),
              HasSubstr("deeper"));
  EXPECT_THAT(message_of("{% set ns = namespace(x=1) %}{% for i in range(1000) %}{% set ns.x = "
                         "[ns.x] %}{% endfor %}"),
              HasSubstr("deeper"));
  EXPECT_TRUE(render("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.l = [ns] %}").ok());
}

// Cutting a template anywhere gives a template or an error, and never a crash.
TEST(ChatTemplate, TruncatedTemplatesEndInAStatus) {
  auto source = read_text_file(golden_dir() / "qwen3_omni_moe" / "checkpoint" /
                               "saved_by_processor" / "chat_template.jinja");
  ASSERT_TRUE(source.ok());
  const json::object context{{"messages", {{{"role", "user"}, {"content", "x"}}}}};
  size_t errors = 0;
  for (size_t size = 0; size < source->size(); size += 7)
    errors += !render(source->substr(0, size), context).ok();
  EXPECT_GT(errors, 500u);
}

TEST(ChatTemplate, LoadsEveryPublishedPlace) {
  TempDir dir;
  EXPECT_THAT(ChatTemplate::load(dir.path()).status().message(),
              HasSubstr("none of chat_template.jinja"));
  const auto text = [&](std::string_view name = "default") {
    auto chat_template = ChatTemplate::load(dir.path(), name);
    if (!chat_template) return chat_template.error().message();
    auto rendered = (*chat_template)->render({{"x", 1}});
    return rendered.ok() ? *rendered : rendered.error().message();
  };
  dir.write("tokenizer_config.json",
            R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null,
      "chat_template": "{{ bos_token }}config{{ eos_token }}{{ pad_token is defined }}"})");
  EXPECT_EQ(text(), "<s>config</s>False");
  dir.write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "one"},
      {"name": "tool_use", "template": "two"}]})");
  EXPECT_EQ(text(), "one");
  EXPECT_EQ(text("tool_use"), "two");
  EXPECT_THAT(text("rag"), HasSubstr("it has: default, tool_use"));
  dir.write("chat_template.json", R"({"chat_template": "json {{ x }}"})");
  EXPECT_EQ(text(), "json 1");
  dir.write("chat_template.jinja", "jinja {{ x }}\n");
  EXPECT_EQ(text(), "jinja 1");
  dir.write("chat_template.jinja", "{% if %}");
  EXPECT_THAT(text(), HasSubstr(dir.path().string()));
  dir.write("tokenizer_config.json", "{");
  EXPECT_THAT(text(), HasSubstr("tokenizer_config.json"));
}

TEST(ChatTemplate, TheCallersVariablesWin) {
  TempDir dir;
  dir.write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": "{{ bos_token }}"})");
  auto chat_template = ChatTemplate::load(dir.path());
  ASSERT_TRUE(chat_template.ok());
  EXPECT_EQ(*(*chat_template)->render({}), "<s>");
  EXPECT_EQ(*(*chat_template)->render({{"bos_token", "[B]"}}), "[B]");
}

}  // namespace
}  // namespace tutti::text
