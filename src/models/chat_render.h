// A ChatPrompt as a chat template's text: whole prompts, and segments of sessions, whose first
// message may go on with an open one and whose last may stay open.
#pragma once

#include <string>

#include "models/pipeline.h"
#include "text/chat_template.h"

namespace tutti {

// Errors: no messages, JSON that is none, a template that does not show a message's text where one
// is to be continued.
Result<std::string> render_chat(const text::ChatTemplate& chat_template, const ChatPrompt& prompt,
                                const PromptOptions& options);

}  // namespace tutti
