#include "models/chat_render.h"

#include "models/chat_context.h"

namespace tutti {
namespace {

// Private-use characters, which templates neither trim nor change.
constexpr std::string_view kMark = "\uE000\uF8FF\uE001";

bool is_text(const ContentPart& part) { return !part.media; }

void mark_beginning(ChatMessage& message) {
  if (message.content.empty() || !is_text(message.content.front()))
    message.content.insert(message.content.begin(), ContentPart());
  message.content.front().text.insert(0, kMark);
}

void mark_end(ChatMessage& message) {
  if (message.content.empty() || !is_text(message.content.back())) message.content.emplace_back();
  message.content.back().text.append(kMark);
}

Status not_shown() {
  return invalid_argument(
             "This model's chat template does not show the text of the message that is to be "
             "continued.")
      .with_param("messages");
}

}  // namespace

Result<std::string> render_chat(const text::ChatTemplate& chat_template, const ChatPrompt& prompt,
                                const PromptOptions& options) {
  if (!options.in_message && !prompt.continue_final_message) {
    TUTTI_ASSIGN_OR_RETURN(const auto context, chat_context(prompt));
    TUTTI_ASSIGN_OR_RETURN(std::string rendered, chat_template.render(context));
    // The template closes a turn with the end token, which the answer has, and a newline.
    return options.after_answer ? "\n" + rendered : rendered;
  }
  // What the template puts around a message is cut off where the message is open.
  ChatPrompt marked = prompt;
  if (!marked.messages.empty()) {
    if (options.in_message) mark_beginning(marked.messages.front());
    if (prompt.continue_final_message) mark_end(marked.messages.back());
  }
  if (prompt.continue_final_message) marked.add_generation_prompt = false;
  TUTTI_ASSIGN_OR_RETURN(const auto context, chat_context(marked));
  TUTTI_ASSIGN_OR_RETURN(std::string rendered, chat_template.render(context));
  if (prompt.continue_final_message) {
    const size_t end = rendered.rfind(kMark);
    if (end == std::string::npos) return not_shown();
    rendered.resize(end);
  }
  if (options.in_message) {
    const size_t begin = rendered.find(kMark);
    if (begin == std::string::npos) return not_shown();
    rendered.erase(0, begin + kMark.size());
  }
  return options.after_answer ? "\n" + rendered : rendered;
}

}  // namespace tutti
