// The normalizer of a tokenizer file: Unicode forms, lower case, replacements, in order.
// *Thread:* immutable after load; any thread. *Invariants:* input and output are valid UTF-8.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tutti/status.h"

#include "text/regex.h"

namespace tutti::text {

class Normalizer {
 public:
  // `config` is the file's "normalizer" object; null makes the identity.
  static Result<Normalizer> from_json(const boost::json::object* config);
  static Normalizer nfc();

  // The normalized text: `text` itself when nothing changes, else a view of `scratch`.
  Result<std::string_view> apply(std::string_view text, std::string& scratch) const;

 private:
  enum class Kind { kNfc, kNfd, kNfkc, kNfkd, kLowercase, kPrepend, kReplace, kStrip };
  struct Step {
    Kind kind = Kind::kNfc;
    std::string content;  // kPrepend, kReplace
    Regex pattern;        // kReplace
    bool strip_left = false;
    bool strip_right = false;
  };

  Status add(const boost::json::object& config, int depth);
  static Result<bool> apply_step(const Step& step, std::string_view text, std::string& out);

  std::vector<Step> steps_;
};

}  // namespace tutti::text
