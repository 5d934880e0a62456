// Lines from stdin that an interrupt can break off: std::getline() would sleep through it.
//
// Thread: one caller at a time.
#pragma once

#include <string>

#include "apps/tutti/interrupt.h"

namespace tutti::cli {

class LineReader {
 public:
  enum class Event { kLine, kEnd, kInterrupted };

  // Waits for one line, without its line end, in `line`. A last line without an end counts.
  Event next(const InterruptGuard& interrupt, std::string& line);

 private:
  std::string buffer_;
  bool ended_ = false;
};

}  // namespace tutti::cli
