#include "apps/tutti/flag_checks.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

#include "stages/deploy_schema.h"

namespace tutti::cli {
namespace {

template <typename Number>
bool is_number(const std::string& text, Number low, Number high) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  return parsed.ec == std::errc() && parsed.ptr == end && value >= low && value <= high;
}

template <typename Number>
FlagCheck between(const char* what, Number low, Number high) {
  return [=](const std::string& text) {
    return is_number(text, low, high)
               ? std::string()
               : fmt::format("'{}' is not allowed; allowed is {} from {} to {}", text, what, low,
                             high);
  };
}

}  // namespace

FlagCheck integer_between(int64_t low, int64_t high) { return between("an integer", low, high); }

FlagCheck number_between(double low, double high) { return between("a number", low, high); }

FlagCheck seconds_above_0() {
  return [](const std::string& text) {
    constexpr double kMost = 1e9;
    return is_number(text, std::numeric_limits<double>::min(), kMost)
               ? std::string()
               : fmt::format(
                     "'{}' is not allowed; allowed is a number of seconds above 0, up to {}", text,
                     kMost);
  };
}

// That the text is a number of the sampling parameter's type; its range is checked with all of
// them.
FlagCheck sampling_number(const char* name) {
  return [name](const std::string& text) {
    const DeployKey& key = *find_deploy_key(name, kSamplingKey);
    constexpr float kFloat = std::numeric_limits<float>::max();
    constexpr int64_t kInt = std::numeric_limits<int32_t>::max();
    const bool good = key.type == DeployType::kInt ? is_number<int64_t>(text, -kInt, kInt)
                                                   : is_number<float>(text, -kFloat, kFloat);
    return good ? std::string()
                : fmt::format("'{}' is not allowed; allowed is {}", text, allowed_values(key));
  };
}

}  // namespace tutti::cli
