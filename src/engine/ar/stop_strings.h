// StopStrings: finds stop strings in text that comes in pieces, and holds back what may still
// become one, so that no part of a stop string is ever shown.
//
// Thread: one owner. Invariants: what is shown does not depend on how the text was cut.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tutti::ar {

class StopStrings {
 public:
  // include: the stop string is shown too.
  StopStrings(std::vector<std::string> stops, bool include);

  // Adds text, and appends to `shown` what may be shown now. Returns the stop string that ends the
  // text, or null. The match that ends first counts; of two that end together, the longer.
  const std::string* push(std::string_view text, std::string& shown);
  // Text in which stop strings are not honoured; it is shown, after what was held back.
  void pass(std::string_view text, std::string& shown);
  // The text ends: what was held back is shown.
  void flush(std::string& shown);

 private:
  struct Match {
    size_t begin = 0;
    size_t end = 0;
    const std::string* stop = nullptr;
  };
  Match find() const;
  size_t length_to_hold() const;

  std::vector<std::string> stops_;
  bool include_;
  std::string held_;  // may begin a stop string
};

}  // namespace tutti::ar
