// The conversation of a golden case as a caller would send it.
#pragma once

#include <boost/json/object.hpp>
#include <filesystem>

#include "tutti/request.h"
#include "tutti/status.h"

namespace tutti::parity {

// `info` is a case.json; media files lie in `media`. A clip comes as its stored frames and sound,
// sampled as videos_kwargs says.
Result<ChatPrompt> case_prompt(const boost::json::object& info, const std::filesystem::path& media);

}  // namespace tutti::parity
