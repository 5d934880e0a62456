#include "serve/tools_field.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti::serve {
namespace {

using ::testing::HasSubstr;

struct Read {
  Status error;
  std::string tools_json;
};

Read read(const std::string& body, ToolShape shape = ToolShape::kNested) {
  const boost::json::value value = boost::json::parse(body);
  Read out;
  Fields fields(value.get_object(), "", &out.error);
  ChatPrompt prompt;
  read_tools(fields, shape, prompt);
  if (out.error.ok()) fields.finish();
  out.tools_json = prompt.tools_json;
  return out;
}

constexpr const char* kTold =
    R"([{"type":"function","function":{"name":"add","parameters":{"type":"object"}}}])";

TEST(ToolsField, BothShapesAreOneToTheTemplate) {
  EXPECT_EQ(read(std::string(R"({"tools":)") + kTold + "}").tools_json, kTold);
  const Read flat =
      read(R"({"tools":[{"type":"function","name":"add","parameters":{"type":"object"}}]})",
           ToolShape::kFlat);
  EXPECT_TRUE(flat.error.ok()) << flat.error.message();
  EXPECT_EQ(flat.tools_json, kTold);
}

TEST(ToolsField, NoneIsNotToldOfThem) {
  const std::string tools = std::string(R"({"tools":)") + kTold;
  EXPECT_EQ(read(tools + R"(,"tool_choice":"none"})").tools_json, "");
  EXPECT_EQ(read(tools + R"(,"tool_choice":"auto"})").tools_json, kTold);
  EXPECT_EQ(read(tools + R"(,"tool_choice":"required"})").error.param(), "tool_choice");
}

TEST(ToolsField, WrongOnesAreNamedByTheirPath) {
  struct Case {
    const char* tools;
    ToolShape shape;
    const char* param;
  };
  const Case cases[] = {
      {R"([{"type":"function"}])", ToolShape::kNested, "tools[0].function"},
      {R"([{"type":"function","function":{"name":""}}])", ToolShape::kNested,
       "tools[0].function.name"},
      {R"([{"type":"function","function":{"name":"a","parameters":3}}])", ToolShape::kNested,
       "tools[0].function.parameters"},
      {R"([{"type":"function","name":"a"},{"type":"function"}])", ToolShape::kFlat,
       "tools[1].name"},
      {R"([{"type":"web_search"}])", ToolShape::kFlat, "tools[0].type"},
      {R"([{"name":"a"}])", ToolShape::kFlat, "tools[0].type"},
      {R"([{"type":"function","nmae":"a"}])", ToolShape::kFlat, "tools[0].name"},
  };
  for (const Case& c : cases) {
    const Read wrong = read(std::string(R"({"tools":)") + c.tools + "}", c.shape);
    EXPECT_EQ(wrong.error.param(), c.param) << c.tools << ": " << wrong.error.message();
  }
  EXPECT_THAT(read(R"({"tools":[3]})").error.message(), HasSubstr("array of objects"));
}

}  // namespace
}  // namespace tutti::serve
