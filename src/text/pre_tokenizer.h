// Splits normalized text into the words that BPE merges within: the pre-tokenizer of a tokenizer
// file. Words are kept as raw bytes; ByteLevel's mapping of bytes to letters exists only in the
// vocabulary. *Thread:* immutable after load; any thread.
#pragma once

#include <boost/json/object.hpp>
#include <string_view>
#include <vector>

#include "tutti/status.h"

#include "text/regex.h"

namespace tutti::text {

// Takes the words in order; a view lives for the call.
class WordSink {
 public:
  virtual void on_word(std::string_view word) = 0;

 protected:
  ~WordSink() = default;
};

class PreTokenizer {
 public:
  // `config` is the file's "pre_tokenizer" object. An error unless it ends in ByteLevel.
  static Result<PreTokenizer> from_json(const boost::json::object* config);
  // ByteLevel behind a split that isolates the matches of `pattern`, as GPT-2's and Qwen's code
  // have it.
  static Result<PreTokenizer> byte_level(std::string_view pattern);

  Status split(std::string_view text, WordSink& sink) const;

 private:
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Step {
    Regex pattern;
    bool has_pattern = true;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
    bool add_prefix_space = false;  // before matching, unless the piece starts with a space
  };
  struct Piece {
    Span span;
    bool match = false;
  };

  Status add(const boost::json::object& config, int depth);
  Status add_split(const boost::json::object& config);
  Status add_pattern(std::string_view pattern, Behavior behavior, bool invert);
  static Result<Behavior> behavior_field(const boost::json::object& config);
  Status run(size_t step, std::string_view piece, WordSink& sink) const;
  Status run_isolated(size_t step, std::string_view piece, WordSink& sink) const;
  static void join_pieces(Behavior behavior, std::vector<Piece>& pieces);

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace tutti::text
