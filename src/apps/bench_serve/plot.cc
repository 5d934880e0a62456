#include "apps/bench_serve/plot.h"

#include <fmt/format.h>

#include <cmath>

namespace tutti::bench {
namespace {

constexpr double kWidth = 860, kHeight = 655;
constexpr double kLeft = 88, kRight = 30, kPanelHeight = 210;
constexpr double kFirstTop = 80, kSecondTop = 385;
constexpr size_t kMostPoints = 2000;  // per series; more cannot be told apart

constexpr const char* kStyle = R"(<style>
  svg { --ink: #1c2024; --soft: #60646c; --grid: #d9d9e0; --ground: #ffffff;
        --a: #0d74ce; --b: #c4501b; --c: #218358; font-family: sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #edeef0; --soft: #b0b4ba; --grid: #43484e; --ground: #18191b;
          --a: #70b8ff; --b: #ffa057; --c: #3dd68c; } }
  .ground { fill: var(--ground); } text { fill: var(--ink); font-size: 13px; }
  .title { font-size: 17px; font-weight: bold; } .soft { fill: var(--soft); }
  .grid { stroke: var(--grid); } .line { fill: none; stroke-width: 2; }
  .a { stroke: var(--a); } .b { stroke: var(--b); } .c { stroke: var(--c); }
  .key { font-weight: bold; } .key.a { fill: var(--a); } .key.b { fill: var(--b); }
  .key.c { fill: var(--c); }
  .dot { stroke-width: 4; stroke-linecap: round; opacity: 0.65; fill: none; }
</style>
)";

struct Point {
  double at_s = 0;  // when the request began
  double value_s = 0;
};

struct Series {
  const char* name;
  const char* style;
  double RequestRecord::* field;
  std::vector<Point> points = {};
};

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) out.push_back(c);
    }
  }
  return out;
}

std::string seconds_label(double s) {
  return s < 1e-3 ? fmt::format("{:g} us", s * 1e6)
         : s < 1  ? fmt::format("{:g} ms", s * 1e3)
                  : fmt::format("{:g} s", s);
}

// Latencies from microseconds to minutes: a logarithmic axis with marks at 1, 2 and 5.
class LogAxis {
 public:
  LogAxis(double low, double high, double from, double to) : from_(from), to_(to) {
    low_ = std::log10(std::max(low, 1e-6) / 1.1);
    high_ = std::max(std::log10(std::max(high, 1e-6) * 1.1), low_ + 0.3);
  }
  double place(double value) const {
    const double share = (std::log10(std::max(value, 1e-6)) - low_) / (high_ - low_);
    return from_ + share * (to_ - from_);
  }
  std::vector<double> marks() const {
    std::vector<double> out;
    const bool many = high_ - low_ > 2.5;
    for (auto decade = static_cast<int>(std::floor(low_)); decade <= high_; ++decade) {
      for (const double step : {1.0, 2.0, 5.0}) {
        if (many && step == 2.0) continue;
        const double value = step * std::pow(10.0, decade);
        if (std::log10(value) >= low_ && std::log10(value) <= high_) out.push_back(value);
      }
    }
    return out;
  }

 private:
  double from_, to_, low_, high_;
};

void line(std::string& out, double x1, double y1, double x2, double y2) {
  out += fmt::format(R"(<line class="grid" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>)"
                     "\n",
                     x1, y1, x2, y2);
}

void text(std::string& out, double x, double y, const char* anchor, const char* style,
          std::string_view words) {
  out += fmt::format(R"(<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>)"
                     "\n",
                     style, x, y, anchor, escaped(words));
}

// What an axis says of itself, below it or, turned, beside it.
void axis_names(std::string& out, double top, std::string_view right, std::string_view up) {
  text(out, (kLeft + kWidth - kRight) / 2, top + kPanelHeight + 38, "middle", "soft", right);
  out += fmt::format(R"svg(<text class="soft" transform="translate(20 {:.1f}) rotate(-90)")svg"
                     R"( text-anchor="middle">{}</text>)"
                     "\n",
                     top + kPanelHeight / 2, escaped(up));
}

// One line of text, so that the reader's own font decides where each name begins.
void legend(std::string& out, const std::vector<Series>& all, double y) {
  out += fmt::format(R"(<text class="soft" x="{:.1f}" y="{:.1f}" text-anchor="end">)",
                     kWidth - kRight, y);
  for (const Series& series : all) {
    const char* gap = &series == &all.front() ? "" : R"( dx="20")";
    out += fmt::format("<tspan class=\"key {}\"{}>\u2014</tspan><tspan dx=\"6\">{}</tspan>",
                       series.style, gap, series.name);
  }
  out += "</text>\n";
}

// At most eight steps of 1, 2 or 5 times a power of ten, from 0 to no more than `end`.
std::vector<double> round_marks(double end) {
  constexpr double kMost = 8;
  const double decade = std::pow(10.0, std::floor(std::log10(end / kMost)));
  double step = decade * 10;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (end / (decade * factor) <= kMost) step = decade * factor;
  }
  std::vector<double> out;
  for (int i = 0; i * step <= end * (1 + 1e-9); ++i) out.push_back(i * step);
  return out;
}

size_t stride_of(size_t count) { return count / kMostPoints + 1; }

// The share of answers (up) that came within a time (right).
void cumulative(std::string& out, const std::vector<Series>& all, double low, double high) {
  const LogAxis axis(low, high, kLeft, kWidth - kRight);
  const double bottom = kFirstTop + kPanelHeight;
  text(out, kLeft, kFirstTop - 12, "start", "", "Share of requests within a time");
  legend(out, all, kFirstTop - 12);
  axis_names(out, kFirstTop, "time since the request began (logarithmic)", "share of requests");
  for (const double mark : axis.marks()) {
    line(out, axis.place(mark), kFirstTop, axis.place(mark), bottom);
    text(out, axis.place(mark), bottom + 18, "middle", "soft", seconds_label(mark));
  }
  for (const int percent : {0, 25, 50, 75, 100}) {
    const double y = bottom - kPanelHeight * percent / 100;
    line(out, kLeft, y, kWidth - kRight, y);
    text(out, kLeft - 8, y + 4, "end", "soft", fmt::format("{} %", percent));
  }
  for (const Series& series : all) {
    std::vector<double> values;
    for (const Point& point : series.points) values.push_back(point.value_s);
    std::sort(values.begin(), values.end());
    std::string path = fmt::format("M{:.1f} {:.1f}", axis.place(values.front()), bottom);
    const size_t stride = stride_of(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      if (i % stride != 0 && i + 1 != values.size()) continue;
      const double share = static_cast<double>(i + 1) / static_cast<double>(values.size());
      path += fmt::format("H{:.1f}V{:.1f}", axis.place(values[i]), bottom - kPanelHeight * share);
    }
    out += fmt::format(R"(<path class="line {}" d="{}"/>)"
                       "\n",
                       series.style, path);
  }
}

// Each request's latencies (up) where it began (right).
void over_time(std::string& out, const std::vector<Series>& all, double low, double high,
               double end_s) {
  const double bottom = kSecondTop + kPanelHeight;
  const LogAxis axis(low, high, bottom, kSecondTop);
  text(out, kLeft, kSecondTop - 12, "start", "", "Over the run, by when a request began");
  axis_names(out, kSecondTop, "time since the run began", "latency (logarithmic)");
  for (const double mark : axis.marks()) {
    line(out, kLeft, axis.place(mark), kWidth - kRight, axis.place(mark));
    text(out, kLeft - 8, axis.place(mark) + 4, "end", "soft", seconds_label(mark));
  }
  const double span_s = std::max(end_s, 1e-3);
  for (const double mark : round_marks(span_s)) {
    const double x = kLeft + (kWidth - kRight - kLeft) * mark / span_s;
    line(out, x, kSecondTop, x, bottom);
    text(out, x, bottom + 18, "middle", "soft", mark == 0 ? "0" : seconds_label(mark));
  }
  for (const Series& series : all) {
    std::string path;
    const size_t stride = stride_of(series.points.size());
    for (size_t i = 0; i < series.points.size(); i += stride) {
      const double x = kLeft + (kWidth - kRight - kLeft) * series.points[i].at_s / span_s;
      path += fmt::format("M{:.1f} {:.1f}h0", x, axis.place(series.points[i].value_s));
    }
    out += fmt::format(R"(<path class="dot {}" d="{}"/>)"
                       "\n",
                       series.style, path);
  }
}

}  // namespace

std::string latency_plot(std::span<const RequestRecord> records, const std::string& title) {
  std::vector<Series> all{{"first token", "a", &RequestRecord::ttft_s},
                          {"first audible sound", "b", &RequestRecord::ttfa_s},
                          {"end of the answer", "c", &RequestRecord::e2el_s}};
  double low = std::numeric_limits<double>::infinity(), high = 0, end_s = 0;
  for (const RequestRecord& record : records) {
    if (record.outcome != Outcome::kCompleted) continue;
    end_s = std::max(end_s, record.begin_s);
    for (Series& series : all) {
      const double value = record.*series.field;
      if (value < 0) continue;
      series.points.push_back({record.begin_s, value});
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  std::erase_if(all, [](const Series& series) { return series.points.empty(); });
  std::string out =
      fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" role="img">)"
                  "\n<title>{2}</title>\n{3}"
                  R"(<rect class="ground" width="{0}" height="{1}"/>)"
                  "\n",
                  kWidth, kHeight, escaped(title), kStyle);
  text(out, kLeft, 32, "start", "title", title);
  if (all.empty()) {
    text(out, kLeft, kFirstTop, "start", "soft", "No request was completed.");
  } else {
    cumulative(out, all, low, high);
    over_time(out, all, low, high, end_s);
  }
  return out + "</svg>\n";
}

}  // namespace tutti::bench
