// ConfigReader: typed access to a Hugging Face config.json. The first wrong key is kept as one
// sentence that names file, key, what was found and what is allowed; reading goes on with the
// default, so that parsing code needs no checks of its own.
//
// Thread: one. Ownership: borrows the JSON document and the Status it writes to.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tutti/status.h"

namespace tutti {

class ConfigReader {
 public:
  // `where` is the file and the path of the object in it, for messages.
  ConfigReader(const boost::json::object& object, std::string file, std::string path,
               Status& status)
      : object_(&object), file_(std::move(file)), path_(std::move(path)), status_(&status) {}

  // A key that is absent or null is not there.
  bool has(std::string_view key) const;
  // Required unless a default is given.
  int64_t integer(std::string_view key, std::optional<int64_t> fallback = {}) const;
  // The same, from 1 to `most` (at most 2^31 - 1: ids and rows have 32 bits).
  int64_t positive(std::string_view key, std::optional<int64_t> fallback = {},
                   int64_t most = INT32_MAX) const;
  double number(std::string_view key, std::optional<double> fallback = {}) const;
  bool boolean(std::string_view key, bool fallback) const;
  std::string string(std::string_view key, std::string fallback) const;
  // Empty when absent.
  std::vector<int64_t> integers(std::string_view key) const;
  // One integer or a list of them; empty when absent.
  std::vector<int64_t> integer_or_list(std::string_view key) const;
  // A nested object; required. An empty one after an error.
  ConfigReader object(std::string_view key) const;
  // String keys to integers, in the file's order.
  std::vector<std::pair<std::string, int64_t>> integer_map(std::string_view key) const;

  // Records "'file': `path.key` is X, expected Y." unless something was wrong before.
  void fail(std::string_view key, const std::string& expected) const;

 private:
  const boost::json::value* find(std::string_view key) const;
  const boost::json::value* require(std::string_view key, bool required,
                                    const std::string& expected) const;
  std::string full_key(std::string_view key) const;

  const boost::json::object* object_;
  std::string file_;
  std::string path_;
  Status* status_;
};

}  // namespace tutti
