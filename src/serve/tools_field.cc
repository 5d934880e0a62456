#include "serve/tools_field.h"

#include <fmt/format.h>

namespace tutti::serve {

namespace json = boost::json;

namespace {

void check_function(Fields& function) {
  const std::string name = function.string("name").value_or("");
  if (function.ok() && name.empty()) function.missing("name", "the function's name");
  (void)function.string("description");
  (void)function.object("parameters");
  (void)function.boolean("strict");
  if (function.ok()) function.finish();
}

// One tool in the shape of chat completions; null when it is wrong, which sets the error.
json::value read_tool(const json::object& object, const std::string& path, ToolShape shape,
                      Status* error) {
  Fields tool(object, path, error);
  const auto type = tool.choice("type", {"function"});
  if (tool.ok() && !type) tool.missing("type", "function");
  if (!tool.ok()) return nullptr;
  if (shape == ToolShape::kFlat) {
    check_function(tool);
    json::object function = object;
    function.stable_erase(function.find("type"));  // templates show the order
    return json::object{{"type", "function"}, {"function", std::move(function)}};
  }
  const json::object* inner = tool.object("function");
  if (tool.ok() && !inner) tool.missing("function", "an object with a `name`");
  if (!tool.ok()) return nullptr;
  Fields function(*inner, path + ".function", error);
  check_function(function);
  if (tool.ok()) tool.finish();
  return object;
}

}  // namespace

json::array read_tools(Fields& fields, ToolShape shape, ChatPrompt& prompt) {
  const json::array* tools = fields.objects("tools");
  const json::value* choice = fields.any("tool_choice");
  fields.accept({"parallel_tool_calls"});
  const std::string_view word =
      choice && choice->is_string() ? std::string_view(choice->get_string()) : "";
  if (choice && word != "auto" && word != "none") {
    fields.fail("tool_choice",
                "`tool_choice` must be 'auto' or 'none'; the answer is the model's own words and "
                "cannot be forced into a call.");
  }
  if (!tools) return {};
  json::array told;
  for (size_t i = 0; i < tools->size() && fields.ok(); ++i) {
    const std::string path = fmt::format("{}[{}]", fields.path_of("tools"), i);
    told.push_back(read_tool((*tools)[i].get_object(), path, shape, fields.error()));
  }
  if (!told.empty() && word != "none") prompt.tools_json = json::serialize(told);
  return *tools;
}

}  // namespace tutti::serve
