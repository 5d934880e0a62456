// Prompts for the tiny Qwen3-Omni checkpoint, as its pipeline hands them to the thinker.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "models/pipeline.h"

namespace tutti::tiny {

inline std::filesystem::path goldens() {
  return std::filesystem::path(TUTTI_TEST_DATA) / "goldens";
}
inline std::filesystem::path checkpoint() { return goldens() / "qwen3_omni_moe/checkpoint"; }

// A file of the goldens' media.
inline ContentPart media(MediaKind kind, const char* file) {
  return {"", MediaItem::file(kind, (goldens() / "media" / file).string())};
}

// One turn of the user.
inline StageInput chat(const Pipeline& pipeline, std::vector<ContentPart> parts) {
  ChatPrompt prompt;
  prompt.messages.push_back({"user", std::move(parts), ""});
  auto input = pipeline.process_prompt(prompt);
  EXPECT_TRUE(input.ok()) << input.error().message();
  return std::move(input).value();
}

}  // namespace tutti::tiny
