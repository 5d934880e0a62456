#include "text/pre_tokenizer.h"

#include <fmt/format.h>

#include <string>

#include "base/json_file.h"
#include "text/utf8.h"

namespace tutti::text {

namespace json = boost::json;

namespace {
constexpr std::string_view kWhat = "the pre-tokenizer";
// The split of OpenAI's GPT-2 release, which ByteLevel runs when use_regex is set.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
}  // namespace

Result<PreTokenizer> PreTokenizer::byte_level(std::string_view pattern) {
  PreTokenizer result;
  TUTTI_RETURN_IF_ERROR(result.add_pattern(pattern, Behavior::kIsolated, false));
  result.byte_level_ = true;
  return result;
}

Result<PreTokenizer> PreTokenizer::from_json(const json::object* config) {
  PreTokenizer result;
  if (config != nullptr) TUTTI_RETURN_IF_ERROR(result.add(*config, 0));
  if (!result.byte_level_) {
    return unimplemented(
        "The pre-tokenizer has no ByteLevel; only byte-level BPE vocabularies are supported.");
  }
  return result;
}

Status PreTokenizer::add_pattern(std::string_view pattern, Behavior behavior, bool invert) {
  Step step;
  TUTTI_ASSIGN_OR_RETURN(step.pattern, Regex::compile(pattern));
  step.behavior = behavior;
  step.invert = invert;
  steps_.push_back(std::move(step));
  return {};
}

Result<PreTokenizer::Behavior> PreTokenizer::behavior_field(const json::object& config) {
  TUTTI_ASSIGN_OR_RETURN(const std::string_view name, string_field(config, "behavior", kWhat));
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  return invalid_argument(
      fmt::format("The split behavior '{}' is unknown; known are Isolated, Removed, "
                  "MergedWithPrevious, MergedWithNext and Contiguous.",
                  name));
}

Status PreTokenizer::add_split(const json::object& config) {
  Step step;
  TUTTI_ASSIGN_OR_RETURN(const json::object* pattern, object_field(config, "pattern", kWhat));
  if (pattern != nullptr && pattern->contains("Regex")) {
    TUTTI_ASSIGN_OR_RETURN(const std::string_view text, string_field(*pattern, "Regex", kWhat));
    TUTTI_ASSIGN_OR_RETURN(step.pattern, Regex::compile(text));
  } else if (pattern != nullptr && pattern->contains("String")) {
    TUTTI_ASSIGN_OR_RETURN(const std::string_view text, string_field(*pattern, "String", kWhat));
    TUTTI_ASSIGN_OR_RETURN(step.pattern, Regex::literal(text));
  } else {
    return invalid_argument("A Split pre-tokenizer lacks a 'pattern' with 'Regex' or 'String'.");
  }
  TUTTI_ASSIGN_OR_RETURN(step.behavior, behavior_field(config));
  TUTTI_ASSIGN_OR_RETURN(step.invert, bool_field(config, "invert", false, kWhat));
  steps_.push_back(std::move(step));
  return {};
}

Status PreTokenizer::add(const json::object& config, int depth) {
  TUTTI_ASSIGN_OR_RETURN(const std::string_view type, string_field(config, "type", kWhat));
  if (type != "Sequence" && byte_level_) {
    return unimplemented(
        fmt::format("The pre-tokenizer has '{}' behind ByteLevel, which must be the last.", type));
  }
  if (type == "Sequence") {
    if (depth > 8) return invalid_argument("The pre-tokenizer nests Sequence deeper than 8.");
    TUTTI_ASSIGN_OR_RETURN(const json::array* parts, array_field(config, "pretokenizers", kWhat));
    if (parts == nullptr)
      return invalid_argument("A Sequence pre-tokenizer lacks 'pretokenizers'.");
    for (const json::value& part : *parts) {
      if (!part.is_object())
        return invalid_argument("A Sequence pre-tokenizer holds something that is no object.");
      TUTTI_RETURN_IF_ERROR(add(part.get_object(), depth + 1));
    }
    return {};
  }
  if (type == "Split") return add_split(config);
  if (type == "ByteLevel") {
    byte_level_ = true;
    TUTTI_ASSIGN_OR_RETURN(const bool prefix_space,
                           bool_field(config, "add_prefix_space", true, kWhat));
    TUTTI_ASSIGN_OR_RETURN(const bool use_regex, bool_field(config, "use_regex", true, kWhat));
    if (!prefix_space && !use_regex) return {};
    Step step;
    step.has_pattern = use_regex;
    step.add_prefix_space = prefix_space;
    if (use_regex) {
      TUTTI_ASSIGN_OR_RETURN(step.pattern, Regex::compile(kGpt2Pattern));
    }
    steps_.push_back(std::move(step));
    return {};
  }
  if (type == "Digits") {
    TUTTI_ASSIGN_OR_RETURN(const bool each, bool_field(config, "individual_digits", false, kWhat));
    return add_pattern(R"(\p{N})", each ? Behavior::kIsolated : Behavior::kContiguous, false);
  }
  if (type == "Punctuation") {
    Behavior behavior = Behavior::kIsolated;
    if (config.contains("behavior")) {
      TUTTI_ASSIGN_OR_RETURN(behavior, behavior_field(config));
    }
    return add_pattern(R"([!-/:-@\[-`{-~\p{P}])", behavior, false);
  }
  if (type == "WhitespaceSplit") return add_pattern(R"(\s)", Behavior::kRemoved, false);
  if (type == "Whitespace") return add_pattern(R"(\w+|[^\w\s]+)", Behavior::kRemoved, true);
  return unimplemented(
      fmt::format("The pre-tokenizer type '{}' is not supported; supported are ByteLevel, Split, "
                  "Digits, Punctuation, Whitespace, WhitespaceSplit and Sequence.",
                  type));
}

// The common case without a list of pieces: matches and the gaps between them are words of their
// own; an empty match only splits where it stands.
Status PreTokenizer::run_isolated(size_t step, std::string_view piece, WordSink& sink) const {
  const Regex& pattern = steps_[step].pattern;
  size_t done = 0;
  size_t from = 0;
  Span match;
  while (from < piece.size()) {
    TUTTI_ASSIGN_OR_RETURN(const bool found, pattern.find(piece, from, match));
    if (!found) break;
    TUTTI_RETURN_IF_ERROR(run(step + 1, piece.substr(done, match.begin - done), sink));
    TUTTI_RETURN_IF_ERROR(run(step + 1, piece.substr(match.begin, match.end - match.begin), sink));
    done = from = match.end;
    if (match.begin == match.end && done < piece.size()) from += utf8_length(piece[done]);
  }
  return run(step + 1, piece.substr(done), sink);
}

void PreTokenizer::join_pieces(Behavior behavior, std::vector<Piece>& pieces) {
  std::vector<Piece> joined;
  bool previous = false;
  const auto append = [&](const Piece& piece, bool join, bool forward) {
    if (join && !joined.empty()) {
      Span& last = joined.back().span;
      (forward ? last.end : last.begin) = forward ? piece.span.end : piece.span.begin;
    } else {
      joined.push_back({piece.span, false});
    }
    previous = piece.match;
  };
  switch (behavior) {
    case Behavior::kIsolated:
    case Behavior::kRemoved:
      return;
    case Behavior::kContiguous:
      for (const Piece& piece : pieces) append(piece, piece.match == previous, true);
      break;
    case Behavior::kMergedWithPrevious:
      for (const Piece& piece : pieces) append(piece, piece.match && !previous, true);
      break;
    case Behavior::kMergedWithNext:
      for (size_t i = pieces.size(); i-- > 0;)
        append(pieces[i], pieces[i].match && !previous, false);
      std::reverse(joined.begin(), joined.end());
      break;
  }
  pieces = std::move(joined);
}

Status PreTokenizer::run(size_t index, std::string_view piece, WordSink& sink) const {
  if (piece.empty()) return {};
  if (index == steps_.size()) {
    sink.on_word(piece);
    return {};
  }
  const Step& step = steps_[index];
  std::string prefixed;
  if (step.add_prefix_space && piece.front() != ' ') {
    prefixed.reserve(piece.size() + 1);
    prefixed += ' ';
    prefixed += piece;
    piece = prefixed;
  }
  if (!step.has_pattern) return run(index + 1, piece, sink);
  if (step.behavior == Behavior::kIsolated) return run_isolated(index, piece, sink);

  std::vector<Span> matches;
  TUTTI_RETURN_IF_ERROR(step.pattern.find_all(piece, matches));
  std::vector<Piece> pieces;
  size_t done = 0;
  for (const Span& match : matches) {
    if (match.begin > done) pieces.push_back({{done, match.begin}, step.invert});
    pieces.push_back({match, !step.invert});
    done = match.end;
  }
  if (done < piece.size()) pieces.push_back({{done, piece.size()}, step.invert});
  join_pieces(step.behavior, pieces);
  for (const Piece& part : pieces) {
    if (step.behavior == Behavior::kRemoved && part.match) continue;
    TUTTI_RETURN_IF_ERROR(
        run(index + 1, piece.substr(part.span.begin, part.span.end - part.span.begin), sink));
  }
  return {};
}

Status PreTokenizer::split(std::string_view text, WordSink& sink) const {
  return run(0, text, sink);
}

}  // namespace tutti::text
