#include "text/chat_template.h"

#include <fmt/format.h>

#include "base/json_file.h"
#include "base/strings.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"

namespace tutti::text {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace jinja {
struct Program {
  Body body;
};
}  // namespace jinja

ChatTemplate::ChatTemplate() = default;
ChatTemplate::~ChatTemplate() = default;

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::parse(std::string source) {
  if (!is_valid_utf8(source)) return invalid_argument("The chat template is not valid UTF-8.");
  std::shared_ptr<ChatTemplate> result(new ChatTemplate());
  TUTTI_ASSIGN_OR_RETURN(jinja::Body body, jinja::parse_template(source));
  result->source_ = std::move(source);
  result->program_ = std::make_unique<const jinja::Program>(jinja::Program{std::move(body)});
  return std::shared_ptr<const ChatTemplate>(std::move(result));
}

Result<std::string> ChatTemplate::render(const json::object& context,
                                         const ChatTemplateOptions& options) const {
  std::vector<std::pair<std::string_view, jinja::Value>> variables;
  for (const auto& entry : context)
    variables.emplace_back(entry.key(), jinja::Value::from_json(entry.value()));
  for (const auto& entry : special_tokens_) {
    if (!context.contains(entry.key()))
      variables.emplace_back(entry.key(), jinja::Value::from_json(entry.value()));
  }
  jinja::Interpreter interpreter({}, options.now.value_or(std::time(nullptr)));
  return interpreter.run(program_->body, variables);
}

namespace {

// "chat_template": a string, or [{"name": ..., "template": ...}].
Result<std::string> pick_template(const json::value& value, std::string_view name,
                                  const std::string& file) {
  if (value.is_string()) return std::string(value.get_string());
  std::vector<std::string> names;
  if (value.is_array()) {
    for (const json::value& entry : value.get_array()) {
      const json::object* fields = entry.if_object();
      const json::value* entry_name = fields == nullptr ? nullptr : fields->if_contains("name");
      const json::value* source = fields == nullptr ? nullptr : fields->if_contains("template");
      if (entry_name == nullptr || source == nullptr || !entry_name->is_string() ||
          !source->is_string())
        break;
      if (entry_name->get_string() == name) return std::string(source->get_string());
      names.emplace_back(entry_name->get_string());
    }
  }
  if (names.empty()) {
    return invalid_argument(fmt::format(
        "'chat_template' of '{}' is neither a string nor a list of named templates.", file));
  }
  return not_found(
      fmt::format("'{}' has no chat template named '{}'; it has: {}.", file, name, join(names)));
}

Result<std::string> read_template(const fs::path& dir, const json::object& config,
                                  std::string_view name) {
  std::error_code error;
  const fs::path jinja_path = dir / "chat_template.jinja";
  if (fs::exists(jinja_path, error)) return read_text_file(jinja_path);
  const fs::path json_path = dir / "chat_template.json";
  if (fs::exists(json_path, error)) {
    TUTTI_ASSIGN_OR_RETURN(const json::object file, read_json_object(json_path));
    const json::value* value = file.if_contains("chat_template");
    if (value == nullptr)
      return invalid_argument(fmt::format("'{}' has no 'chat_template'.", json_path.string()));
    return pick_template(*value, name, json_path.string());
  }
  const json::value* value = config.if_contains("chat_template");
  if (value != nullptr && !value->is_null())
    return pick_template(*value, name, (dir / "tokenizer_config.json").string());
  return not_found(
      fmt::format("'{}' has no chat template: none of chat_template.jinja, chat_template.json and "
                  "'chat_template' in tokenizer_config.json is there.",
                  dir.string()));
}

// Every "..._token" of the configuration, as a string; added tokens give their content.
json::object special_tokens(const json::object& config) {
  json::object tokens;
  for (const auto& entry : config) {
    const std::string_view key = entry.key();
    const json::value* value = &entry.value();
    if (!key.ends_with("_token")) continue;
    if (value->is_object()) value = value->get_object().if_contains("content");
    if (value != nullptr && value->is_string()) tokens[key] = *value;
  }
  return tokens;
}

}  // namespace

Result<std::shared_ptr<const ChatTemplate>> ChatTemplate::load(const fs::path& model_dir,
                                                               std::string_view name) {
  std::error_code error;
  if (!fs::is_directory(model_dir, error)) {
    return not_found(fmt::format("The model directory '{}' does not exist or is not a directory.",
                                 model_dir.string()));
  }
  json::object config;
  if (const fs::path path = model_dir / "tokenizer_config.json"; fs::exists(path, error)) {
    TUTTI_ASSIGN_OR_RETURN(config, read_json_object(path));
  }
  TUTTI_ASSIGN_OR_RETURN(std::string source, read_template(model_dir, config, name));
  Result<std::shared_ptr<const ChatTemplate>> parsed = parse(std::move(source));
  if (!parsed)
    return std::move(parsed).error().with_context(fmt::format("'{}'", model_dir.string()));
  const auto result = std::const_pointer_cast<ChatTemplate>(*parsed);
  result->special_tokens_ = special_tokens(config);
  return parsed;
}

}  // namespace tutti::text
