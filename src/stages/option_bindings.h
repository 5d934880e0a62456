// Which option, stage option or sampling parameter a deploy key stands for, with conversion from
// and to the text of settings. An unset optional is an empty text.
//
// Thread: immutable.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tutti/options.h"

namespace tutti {

template <typename Options>
struct OptionBinding {
  std::string_view key;
  std::string (*get)(const Options& options) = nullptr;
  // The text has been checked against the key's type and range.
  void (*set)(Options& options, const std::string& text) = nullptr;
};

std::span<const OptionBinding<EngineOptions>> engine_bindings();
std::span<const OptionBinding<StageOptions>> stage_bindings();
std::span<const OptionBinding<SamplingParams>> sampling_bindings();

// Null when the key is not an option of the whole engine.
const OptionBinding<EngineOptions>* find_engine_binding(std::string_view key);

}  // namespace tutti
