#include "base/trace_recorder.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "base/strings.h"

namespace tutti {
namespace {

// Chrome counts in microseconds.
double microseconds(double seconds) { return seconds * 1e6; }

std::string args_json(const TraceArgs& args) {
  std::string out = "{";
  for (const auto& [name, value] : args) {
    out += fmt::format("{}{}:{}", out.size() > 1 ? "," : "", json_quoted(name), value);
  }
  return out + "}";
}

}  // namespace

std::string json_quoted(std::string_view text) {
  // Prompts come from outside: what is no UTF-8 must not spoil the file.
  if (!is_valid_utf8(text)) return "\"(not UTF-8)\"";
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

TraceRecorder::TraceRecorder(size_t most_events, TimePoint epoch)
    : most_events_(std::max<size_t>(most_events, 1)), epoch_(epoch) {}

void TraceRecorder::name_track(TraceTrack track, const std::string& process,
                               const std::string& row) {
  const std::lock_guard lock(mutex_);
  for (const TrackName& known : names_) {
    if (known.track == track) return;
  }
  names_.push_back({track, process, row});
}

void TraceRecorder::span(TraceTrack track, std::string name, double begin_s, double end_s,
                         TraceArgs args) {
  if (!enabled()) return;
  add({'X', track, std::move(name), 0, begin_s, end_s - begin_s, std::move(args)});
}

void TraceRecorder::async_span(TraceTrack track, std::string name, uint64_t id, double begin_s,
                               double end_s, TraceArgs args) {
  if (!enabled()) return;
  add({'b', track, std::move(name), id, begin_s, end_s - begin_s, std::move(args)});
}

void TraceRecorder::instant(TraceTrack track, std::string name, double at_s, TraceArgs args) {
  if (!enabled()) return;
  add({'i', track, std::move(name), 0, at_s, 0, std::move(args)});
}

void TraceRecorder::counter(TraceTrack track, std::string name, double at_s, double value) {
  if (!enabled()) return;
  add({'C', track, std::move(name), 0, at_s, 0, {{"value", fmt::format("{}", value)}}});
}

void TraceRecorder::add(Event event) {
  const std::lock_guard lock(mutex_);
  if (events_.size() == most_events_) {
    events_.pop_front();
    ++dropped_;
  }
  events_.push_back(std::move(event));
}

size_t TraceRecorder::size() const {
  const std::lock_guard lock(mutex_);
  return events_.size();
}

int64_t TraceRecorder::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

void TraceRecorder::clear() {
  const std::lock_guard lock(mutex_);
  events_.clear();
  dropped_ = 0;
}

std::string TraceRecorder::to_json() const {
  std::vector<Event> events;
  std::vector<TrackName> names;
  {
    const std::lock_guard lock(mutex_);
    events.assign(events_.begin(), events_.end());
    names = names_;
  }
  std::vector<const Event*> sorted;
  for (const Event& event : events) sorted.push_back(&event);
  std::sort(sorted.begin(), sorted.end(), [](const Event* a, const Event* b) {
    return a->begin_s != b->begin_s ? a->begin_s < b->begin_s : a < b;
  });
  std::string out = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  const char* separator = "\n";
  const auto line = [&](const std::string& text) {
    out += separator + text;
    separator = ",\n";
  };
  for (const TrackName& name : names) {
    line(fmt::format(R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":{}}}}})",
                     name.track.process, json_quoted(name.process)));
    line(fmt::format(R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":{}}}}})",
                     name.track.process, name.track.row, json_quoted(name.row)));
  }
  for (const Event* sorted_event : sorted) {
    const Event& event = *sorted_event;
    const std::string where = fmt::format(R"("name":{},"pid":{},"tid":{})", json_quoted(event.name),
                                          event.track.process, event.track.row);
    const double begin = microseconds(event.begin_s);
    const std::string args = args_json(event.args);
    switch (event.phase) {
      case 'X':
        line(fmt::format(R"({{"ph":"X",{},"ts":{:.3f},"dur":{:.3f},"args":{}}})", where, begin,
                         microseconds(event.duration_s), args));
        break;
      case 'b':
        line(fmt::format(R"({{"ph":"b","cat":"request","id":"{}",{},"ts":{:.3f},"args":{}}})",
                         event.id, where, begin, args));
        line(fmt::format(R"({{"ph":"e","cat":"request","id":"{}",{},"ts":{:.3f}}})", event.id,
                         where, begin + microseconds(event.duration_s)));
        break;
      case 'i':
        line(fmt::format(R"({{"ph":"i","s":"t",{},"ts":{:.3f},"args":{}}})", where, begin, args));
        break;
      default:
        line(fmt::format(R"({{"ph":"C",{},"ts":{:.3f},"args":{}}})", where, begin, args));
    }
  }
  return out + "\n]}\n";
}

Status TraceRecorder::write(const std::string& path) const {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << to_json();
  out.flush();
  if (!out) return internal_error(fmt::format("The timeline cannot be written to '{}'.", path));
  return {};
}

}  // namespace tutti
