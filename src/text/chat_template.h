// A model's chat template: messages, tools and options in, the prompt's text out. An own
// interpreter of the subset of Jinja that published templates use, set up as Hugging Face's
// apply_chat_template does. *Thread:* immutable and shared; any thread may render at once.
#pragma once

#include <boost/json/object.hpp>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tutti/status.h"

namespace tutti::text {

namespace jinja {
struct Program;
}

struct ChatTemplateOptions {
  // What strftime_now() shows; the current time when not given.
  std::optional<std::time_t> now;
};

class ChatTemplate {
 public:
  // Errors name the construct and the line: INVALID_ARGUMENT for what Jinja refuses too,
  // UNIMPLEMENTED for what lies outside the supported subset.
  static Result<std::shared_ptr<const ChatTemplate>> parse(std::string source);
  // Reads chat_template.jinja, chat_template.json or tokenizer_config.json's "chat_template" (a
  // string, or a list of named ones, of which `name` is taken), the first that exists. The special
  // tokens of tokenizer_config.json become variables (bos_token, eos_token, ...) unless the context
  // has them.
  static Result<std::shared_ptr<const ChatTemplate>> load(const std::filesystem::path& model_dir,
                                                          std::string_view name = "default");

  // The text for a context with "messages" and, as wanted, "tools", "add_generation_prompt" and any
  // other variable of the template. An error of the template's own raise_exception is
  // INVALID_ARGUMENT with its message; work, output and depth are bounded (RESOURCE_EXHAUSTED).
  Result<std::string> render(const boost::json::object& context,
                             const ChatTemplateOptions& options = {}) const;

  const std::string& source() const { return source_; }

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

 private:
  ChatTemplate();

  std::string source_;
  std::unique_ptr<const jinja::Program> program_;
  boost::json::object special_tokens_;
};

}  // namespace tutti::text
