// Checks of flags' values that say what is allowed, where CLI11's own do not. Empty: it is.
//
// Thread: any.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace tutti::cli {

using FlagCheck = std::function<std::string(const std::string&)>;

FlagCheck integer_between(int64_t low, int64_t high);
FlagCheck number_between(double low, double high);
FlagCheck seconds_above_0();
// That the text is a number of the sampling parameter's type; ranges are checked with all of them.
FlagCheck sampling_number(const char* name);

}  // namespace tutti::cli
