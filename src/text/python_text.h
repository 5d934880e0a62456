// Python's text functions that templates reach through string methods and filters. Positions are
// code points in Python and bytes here; every text is valid UTF-8. *Thread:* any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tutti::text::python {

// repr(float): the shortest digits that read back the same.
std::string float_repr(double value);
void append_str_repr(std::string& out, std::string_view text);
void append_json_string(std::string& out, std::string_view text, bool ensure_ascii);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string title(std::string_view text);
std::string capitalize(std::string_view text);
std::string swapcase(std::string_view text);

// What remains when code points of `chars` (white space when null) are taken off the ends.
std::string_view strip(std::string_view text, const std::string_view* chars, bool left, bool right);
// str.split; `max` < 0: no limit. An empty separator is the caller's error.
std::vector<std::string_view> split(std::string_view text, const std::string_view* separator,
                                    int64_t max, bool from_right);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t max);

enum class CharClass { kAlpha, kDigit, kNumeric, kAlnum, kSpace, kLower, kUpper };
// str.isalpha and its kin.
bool all_of_class(std::string_view text, CharClass which);

}  // namespace tutti::text::python
