#include "text/normalizer.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include "base/json_file.h"
#include "text/utf8.h"

namespace tutti::text {

namespace json = boost::json;

namespace {

constexpr std::string_view kWhat = "the normalizer";

// True when no form can change the text: all below `limit`, where the first code point that can
// compose (U+0300), or decompose (U+00A0), begins.
bool all_below(std::string_view text, bool composing) {
  const unsigned char first_changing_lead = composing ? 0xCC : 0x80;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= first_changing_lead) return false;
  }
  return true;
}

Status unicode_form(std::string_view text, int options, std::string& out) {
  utf8proc_uint8_t* mapped = nullptr;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const utf8proc_ssize_t size =
      utf8proc_map(bytes, static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE));
  if (size < 0) {
    return invalid_argument(
        fmt::format("Unicode normalization failed: {}.", utf8proc_errmsg(size)));
  }
  out.assign(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
  free(mapped);
  return {};
}

void lowercase(std::string_view text, std::string& out) {
  out.clear();
  for (size_t pos = 0; pos < text.size(); pos += utf8_length(text[pos])) {
    const char32_t c = utf8_at(text, pos);
    if (c == 0x130) {
      out += "i\xCC\x87";  // the one letter whose lower case is two code points
    } else {
      utf8_append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
}

std::string_view strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && is_white_space(utf8_at(text, 0), false))
    text.remove_prefix(utf8_length(text[0]));
  while (right && !text.empty()) {
    size_t last = text.size() - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!is_white_space(utf8_at(text, last), false)) break;
    text = text.substr(0, last);
  }
  return text;
}

Result<Regex> pattern_field(const json::object& config) {
  TUTTI_ASSIGN_OR_RETURN(const json::object* pattern, object_field(config, "pattern", kWhat));
  if (pattern != nullptr && pattern->contains("String")) {
    TUTTI_ASSIGN_OR_RETURN(const std::string_view text, string_field(*pattern, "String", kWhat));
    return Regex::literal(text);
  }
  if (pattern != nullptr && pattern->contains("Regex")) {
    TUTTI_ASSIGN_OR_RETURN(const std::string_view text, string_field(*pattern, "Regex", kWhat));
    return Regex::compile(text);
  }
  return invalid_argument("A Replace normalizer lacks a 'pattern' with 'String' or 'Regex'.");
}

}  // namespace

Normalizer Normalizer::nfc() {
  Normalizer normalizer;
  normalizer.steps_.emplace_back();
  return normalizer;
}

Result<Normalizer> Normalizer::from_json(const json::object* config) {
  Normalizer normalizer;
  if (config != nullptr) TUTTI_RETURN_IF_ERROR(normalizer.add(*config, 0));
  return normalizer;
}

Status Normalizer::add(const json::object& config, int depth) {
  TUTTI_ASSIGN_OR_RETURN(const std::string_view type, string_field(config, "type", kWhat));
  if (type == "Sequence") {
    if (depth > 8) return invalid_argument("The normalizer nests Sequence deeper than 8.");
    TUTTI_ASSIGN_OR_RETURN(const json::array* parts, array_field(config, "normalizers", kWhat));
    if (parts == nullptr) return invalid_argument("A Sequence normalizer lacks 'normalizers'.");
    for (const json::value& part : *parts) {
      if (!part.is_object())
        return invalid_argument("A Sequence normalizer holds something that is no object.");
      TUTTI_RETURN_IF_ERROR(add(part.get_object(), depth + 1));
    }
    return {};
  }
  Step step;
  if (type == "NFC") {
    step.kind = Kind::kNfc;
  } else if (type == "NFD") {
    step.kind = Kind::kNfd;
  } else if (type == "NFKC") {
    step.kind = Kind::kNfkc;
  } else if (type == "NFKD") {
    step.kind = Kind::kNfkd;
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    TUTTI_ASSIGN_OR_RETURN(step.content, string_field(config, "prepend", kWhat));
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    TUTTI_ASSIGN_OR_RETURN(step.content, string_field(config, "content", kWhat));
    TUTTI_ASSIGN_OR_RETURN(step.pattern, pattern_field(config));
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    TUTTI_ASSIGN_OR_RETURN(step.strip_left, bool_field(config, "strip_left", false, kWhat));
    TUTTI_ASSIGN_OR_RETURN(step.strip_right, bool_field(config, "strip_right", false, kWhat));
  } else {
    return unimplemented(
        fmt::format("The normalizer type '{}' is not supported; supported are NFC, NFD, NFKC, "
                    "NFKD, Lowercase, Prepend, Replace, Strip and Sequence.",
                    type));
  }
  steps_.push_back(std::move(step));
  return {};
}

// Writes the result to `out`; false when the text stays as it is.
Result<bool> Normalizer::apply_step(const Step& step, std::string_view text, std::string& out) {
  switch (step.kind) {
    case Kind::kNfc:
    case Kind::kNfd:
    case Kind::kNfkc:
    case Kind::kNfkd: {
      if (all_below(text, step.kind == Kind::kNfc)) return false;
      const bool composed = step.kind == Kind::kNfc || step.kind == Kind::kNfkc;
      const bool compatible = step.kind == Kind::kNfkc || step.kind == Kind::kNfkd;
      TUTTI_RETURN_IF_ERROR(unicode_form(
          text,
          (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compatible ? UTF8PROC_COMPAT : 0),
          out));
      return true;
    }
    case Kind::kLowercase:
      lowercase(text, out);
      return true;
    case Kind::kPrepend:
      out.assign(step.content);
      out += text;
      return true;
    case Kind::kReplace: {
      std::vector<Span> matches;
      TUTTI_RETURN_IF_ERROR(step.pattern.find_all(text, matches));
      if (matches.empty()) return false;
      out.clear();
      size_t done = 0;
      for (const Span& match : matches) {
        out += text.substr(done, match.begin - done);
        out += step.content;
        done = match.end;
      }
      out += text.substr(done);
      return true;
    }
    case Kind::kStrip:
      out.assign(strip(text, step.strip_left, step.strip_right));
      return true;
  }
  return false;
}

Result<std::string_view> Normalizer::apply(std::string_view text, std::string& scratch) const {
  std::string next;
  for (const Step& step : steps_) {
    if (text.empty()) break;
    TUTTI_ASSIGN_OR_RETURN(const bool changed, apply_step(step, text, next));
    if (!changed) continue;
    scratch.swap(next);
    text = scratch;
  }
  return text;
}

}  // namespace tutti::text
