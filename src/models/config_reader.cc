#include "models/config_reader.h"

#include <boost/json.hpp>
#include <cmath>

namespace tutti {

namespace json = boost::json;

namespace {

std::optional<int64_t> as_integer(const json::value& value) {
  if (value.is_int64()) return value.get_int64();
  // JSON writers may spell an integer as 1e6; beyond 2^53 a double is no exact integer.
  if (value.is_double() && std::abs(value.get_double()) < 0x1p53 &&
      std::floor(value.get_double()) == value.get_double()) {
    return static_cast<int64_t>(value.get_double());
  }
  return std::nullopt;
}

}  // namespace

std::string ConfigReader::full_key(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

void ConfigReader::fail(std::string_view key, const std::string& expected) const {
  if (!status_->ok()) return;
  const json::value* value = find(key);
  std::string found = value ? "is " + json::serialize(*value) : "is missing";
  if (found.size() > 80) found = found.substr(0, 77) + "...";
  *status_ = invalid_argument("'" + file_ + "': `" + full_key(key) + "` " + found + ", expected " +
                              expected + ".");
}

const json::value* ConfigReader::find(std::string_view key) const {
  const json::value* value = object_->if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const json::value* ConfigReader::require(std::string_view key, bool required,
                                         const std::string& expected) const {
  const json::value* value = find(key);
  if (value == nullptr && required) fail(key, expected);
  return value;
}

bool ConfigReader::has(std::string_view key) const { return find(key) != nullptr; }

int64_t ConfigReader::integer(std::string_view key, std::optional<int64_t> fallback) const {
  const std::string expected = "an integer";
  const json::value* value = require(key, !fallback, expected);
  if (value == nullptr) return fallback.value_or(0);
  const auto n = as_integer(*value);
  if (!n) fail(key, expected);
  return n.value_or(fallback.value_or(0));
}

int64_t ConfigReader::positive(std::string_view key, std::optional<int64_t> fallback,
                               int64_t most) const {
  const int64_t n = integer(key, fallback);
  if (n >= 1 && n <= most) return n;
  if (has(key)) fail(key, "an integer from 1 to " + std::to_string(most));
  return 1;
}

double ConfigReader::number(std::string_view key, std::optional<double> fallback) const {
  const json::value* value = require(key, !fallback, "a number");
  if (value == nullptr) return fallback.value_or(0);
  if (!value->is_number()) {
    fail(key, "a number");
    return fallback.value_or(0);
  }
  return value->to_number<double>();
}

bool ConfigReader::boolean(std::string_view key, bool fallback) const {
  const json::value* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) {
    fail(key, "true or false");
    return fallback;
  }
  return value->get_bool();
}

std::string ConfigReader::string(std::string_view key, std::string fallback) const {
  const json::value* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    fail(key, "a string");
    return fallback;
  }
  return std::string(value->get_string());
}

std::vector<int64_t> ConfigReader::integers(std::string_view key) const {
  std::vector<int64_t> out;
  const json::value* value = find(key);
  if (value == nullptr) return out;
  if (!value->is_array()) {
    fail(key, "a list of integers");
    return out;
  }
  for (const json::value& item : value->get_array()) {
    const auto n = as_integer(item);
    if (!n) {
      fail(key, "a list of integers");
      return {};
    }
    out.push_back(*n);
  }
  return out;
}

std::vector<int64_t> ConfigReader::integer_or_list(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr || value->is_array()) return integers(key);
  return {integer(key)};
}

ConfigReader ConfigReader::object(std::string_view key) const {
  static const json::object kEmpty;
  const json::value* value = require(key, true, "an object");
  const bool is_object = value != nullptr && value->is_object();
  if (value != nullptr && !is_object) fail(key, "an object");
  return ConfigReader(is_object ? value->get_object() : kEmpty, file_, full_key(key), *status_);
}

std::vector<std::pair<std::string, int64_t>> ConfigReader::integer_map(std::string_view key) const {
  std::vector<std::pair<std::string, int64_t>> out;
  const json::value* value = find(key);
  if (value == nullptr) return out;
  if (!value->is_object()) {
    fail(key, "an object of integers");
    return out;
  }
  for (const auto& [name, item] : value->get_object()) {
    const auto n = as_integer(item);
    if (!n) {
      fail(key, "an object of integers");
      return {};
    }
    out.emplace_back(name, *n);
  }
  return out;
}

}  // namespace tutti
