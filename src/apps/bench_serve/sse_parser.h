// SseParser: server-sent events out of a body that arrives in pieces cut anywhere (WHATWG HTML,
// 9.2.6).
//
// Thread: one. Invariants: an event is reported once its empty line has come; comments and fields
// other than `event` and `data` are passed over; an event is bounded in bytes.
#pragma once

#include <string>
#include <string_view>

#include "tutti/status.h"

#include "base/function_ref.h"

namespace tutti::bench {

class SseParser {
 public:
  // `name` is empty for events without one. The views are valid for the call.
  using OnEvent = FunctionRef<void(std::string_view name, std::string_view data)>;
  // Error: an event of more than 64 MiB.
  Status feed(std::string_view bytes, OnEvent on_event);

 private:
  void take_line(std::string_view line, OnEvent on_event);

  std::string rest_;           // of a line whose end has not come
  bool after_return_ = false;  // a line feed that follows belongs to the line that has ended
  bool at_begin_ = true;
  std::string name_;
  std::string data_;
  bool has_data_ = false;
};

}  // namespace tutti::bench
