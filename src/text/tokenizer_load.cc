// Reads a tokenizer's files. Both routes end in the same TokenizerParts.
#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "base/json_file.h"
#include "base/strings.h"
#include "text/tokenizer.h"

namespace tutti::text {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

// The split of Qwen2 and later (Qwen2Tokenizer in transformers), for directories without
// tokenizer.json.
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Result<int32_t> id_value(const json::value& value, std::string_view token) {
  if (!value.is_int64() || value.get_int64() < 0 || value.get_int64() > INT32_MAX) {
    return invalid_argument(
        fmt::format("The id of the token '{}' is not a number from 0 to {}.", token, INT32_MAX));
  }
  return static_cast<int32_t>(value.get_int64());
}

Result<std::vector<VocabEntry>> vocab_entries(const json::object& vocab) {
  std::vector<VocabEntry> entries;
  entries.reserve(vocab.size());
  for (const auto& [token, value] : vocab) {
    TUTTI_ASSIGN_OR_RETURN(const int32_t id, id_value(value, token));
    entries.push_back({std::string(token), id});
  }
  if (entries.empty()) return invalid_argument("The vocabulary is empty.");
  return entries;
}

Result<MergePair> split_merge(std::string_view line, size_t index) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos) {
    return invalid_argument(
        fmt::format("Merge {} ('{}') is not two tokens with one space between.", index, line));
  }
  return MergePair{std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

// Both spellings of tokenizer.json: "a b" and ["a", "b"].
Result<std::vector<MergePair>> merge_pairs(const json::array& merges) {
  std::vector<MergePair> pairs;
  pairs.reserve(merges.size());
  for (const json::value& merge : merges) {
    if (merge.is_string()) {
      TUTTI_ASSIGN_OR_RETURN(MergePair pair, split_merge(merge.get_string(), pairs.size()));
      pairs.push_back(std::move(pair));
    } else if (merge.is_array() && merge.get_array().size() == 2 &&
               merge.get_array()[0].is_string() && merge.get_array()[1].is_string()) {
      pairs.push_back({std::string(merge.get_array()[0].get_string()),
                       std::string(merge.get_array()[1].get_string())});
    } else {
      return invalid_argument(
          fmt::format("Merge {} is neither a string nor a pair of strings.", pairs.size()));
    }
  }
  return pairs;
}

Result<std::vector<MergePair>> read_merges_txt(const fs::path& path) {
  TUTTI_ASSIGN_OR_RETURN(const std::string text, read_text_file(path));
  if (!is_valid_utf8(text))
    return invalid_argument(fmt::format("'{}' is not valid UTF-8.", path.string()));
  std::vector<MergePair> pairs;
  for (size_t pos = 0; pos < text.size();) {
    size_t end = text.find('\n', pos);
    if (end == std::string::npos) end = text.size();
    std::string_view line = std::string_view(text).substr(pos, end - pos);
    pos = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    Result<MergePair> pair = split_merge(line, pairs.size());
    if (!pair) return std::move(pair).error().with_context(fmt::format("'{}'", path.string()));
    pairs.push_back(std::move(*pair));
  }
  return pairs;
}

Result<AddedToken> added_token(const json::object& entry, std::string_view what) {
  AddedToken token;
  TUTTI_ASSIGN_OR_RETURN(token.content, string_field(entry, "content", what));
  if (token.content.empty())
    return invalid_argument(fmt::format("An added token of {} has no 'content'.", what));
  TUTTI_ASSIGN_OR_RETURN(token.special, bool_field(entry, "special", false, what));
  TUTTI_ASSIGN_OR_RETURN(token.single_word, bool_field(entry, "single_word", false, what));
  TUTTI_ASSIGN_OR_RETURN(token.lstrip, bool_field(entry, "lstrip", false, what));
  TUTTI_ASSIGN_OR_RETURN(token.rstrip, bool_field(entry, "rstrip", false, what));
  TUTTI_ASSIGN_OR_RETURN(token.normalized, bool_field(entry, "normalized", !token.special, what));
  return token;
}

// Adds unless a token of that content is there; a token of the vocabulary keeps the vocabulary's
// id.
void add_token(AddedToken token, TokenizerParts& parts) {
  const auto same = [&](const AddedToken& other) { return other.content == token.content; };
  if (std::any_of(parts.added_tokens.begin(), parts.added_tokens.end(), same)) return;
  if (const std::optional<int32_t> id = parts.bpe.id_of(token.content)) token.id = *id;
  parts.added_tokens.push_back(std::move(token));
}

Status read_added_tokens(const json::object& file, TokenizerParts& parts) {
  TUTTI_ASSIGN_OR_RETURN(const json::array* tokens,
                         array_field(file, "added_tokens", "the tokenizer"));
  if (tokens == nullptr) return {};
  for (const json::value& value : *tokens) {
    if (!value.is_object()) return invalid_argument("An entry of 'added_tokens' is not an object.");
    const json::object& entry = value.get_object();
    TUTTI_ASSIGN_OR_RETURN(AddedToken token, added_token(entry, "'added_tokens'"));
    const json::value* id = entry.if_contains("id");
    if (id == nullptr)
      return invalid_argument(fmt::format("The added token '{}' has no 'id'.", token.content));
    TUTTI_ASSIGN_OR_RETURN(token.id, id_value(*id, token.content));
    add_token(std::move(token), parts);
  }
  return {};
}

// tokenizer_config.json: {"added_tokens_decoder": {"151643": {"content": ...}}}, in the order of
// ids.
Status read_added_tokens_decoder(const json::object& config, TokenizerParts& parts) {
  constexpr std::string_view kField = "'added_tokens_decoder'";
  TUTTI_ASSIGN_OR_RETURN(const json::object* decoder,
                         object_field(config, "added_tokens_decoder", "tokenizer_config.json"));
  if (decoder == nullptr) return {};
  std::vector<AddedToken> tokens;
  for (const auto& [key, value] : *decoder) {
    if (key.empty() || key.size() > 9 ||
        !std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      return invalid_argument(
          fmt::format("The key '{}' of {} is not an id.", std::string_view(key), kField));
    }
    if (!value.is_object())
      return invalid_argument(fmt::format("An entry of {} is not an object.", kField));
    TUTTI_ASSIGN_OR_RETURN(AddedToken token, added_token(value.get_object(), kField));
    token.id = std::stoi(std::string(key));
    tokens.push_back(std::move(token));
  }
  std::sort(tokens.begin(), tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (AddedToken& token : tokens) add_token(std::move(token), parts);
  return {};
}

// "eos_token": "text" or {"content": "text"}.
Result<std::string> named_token(const json::object& config, std::string_view key) {
  const json::value* value = config.if_contains(key);
  if (value == nullptr || value->is_null()) return std::string();
  if (value->is_object()) value = value->get_object().if_contains("content");
  if (value == nullptr || !value->is_string()) {
    return invalid_argument(
        fmt::format("'{}' of tokenizer_config.json is neither a string nor an added token.", key));
  }
  return std::string(value->get_string());
}

Status read_config(const json::object& config, TokenizerParts& parts) {
  TUTTI_RETURN_IF_ERROR(read_added_tokens_decoder(config, parts));
  TUTTI_ASSIGN_OR_RETURN(parts.eos_token, named_token(config, "eos_token"));
  TUTTI_ASSIGN_OR_RETURN(parts.pad_token, named_token(config, "pad_token"));
  TUTTI_ASSIGN_OR_RETURN(parts.bos_token, named_token(config, "bos_token"));
  return {};
}

// The ids that TemplateProcessing's "single" puts before and behind the sequence.
Status read_template(const json::object& config, TokenizerParts& parts) {
  constexpr std::string_view kWhat = "the post-processor";
  TUTTI_ASSIGN_OR_RETURN(const json::array* single, array_field(config, "single", kWhat));
  TUTTI_ASSIGN_OR_RETURN(const json::object* tokens, object_field(config, "special_tokens", kWhat));
  if (single == nullptr)
    return invalid_argument("A TemplateProcessing post-processor lacks 'single'.");
  std::vector<int32_t>* ids = &parts.prefix_ids;
  for (const json::value& value : *single) {
    const json::object* piece = value.if_object();
    if (piece != nullptr && piece->contains("Sequence")) {
      ids = &parts.suffix_ids;
      continue;
    }
    const json::value* special = piece == nullptr ? nullptr : piece->if_contains("SpecialToken");
    const json::object* fields = special == nullptr ? nullptr : special->if_object();
    if (fields == nullptr)
      return invalid_argument(
          "A piece of TemplateProcessing is neither Sequence nor SpecialToken.");
    TUTTI_ASSIGN_OR_RETURN(const std::string_view name, string_field(*fields, "id", kWhat));
    const json::value* entry = tokens == nullptr ? nullptr : tokens->if_contains(name);
    const json::value* list =
        entry == nullptr || !entry->is_object() ? nullptr : entry->get_object().if_contains("ids");
    if (list == nullptr || !list->is_array()) {
      return invalid_argument(
          fmt::format("TemplateProcessing uses '{}', which its 'special_tokens' lack.", name));
    }
    for (const json::value& id_json : list->get_array()) {
      TUTTI_ASSIGN_OR_RETURN(const int32_t id, id_value(id_json, name));
      ids->push_back(id);
    }
  }
  return {};
}

Status read_post_processor(const json::object* config, TokenizerParts& parts, int depth = 0) {
  constexpr std::string_view kWhat = "the post-processor";
  if (config == nullptr) return {};
  TUTTI_ASSIGN_OR_RETURN(const std::string_view type, string_field(*config, "type", kWhat));
  if (type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return read_template(*config, parts);
  if (type == "Sequence" && depth < 8) {
    TUTTI_ASSIGN_OR_RETURN(const json::array* processors,
                           array_field(*config, "processors", kWhat));
    if (processors == nullptr)
      return invalid_argument("A Sequence post-processor lacks 'processors'.");
    for (const json::value& processor : *processors) {
      TUTTI_RETURN_IF_ERROR(read_post_processor(processor.if_object(), parts, depth + 1));
    }
    return {};
  }
  return unimplemented(
      fmt::format("The post-processor type '{}' is not supported; supported are ByteLevel, "
                  "TemplateProcessing and Sequence.",
                  type));
}

Status check_decoder(const json::object* config) {
  if (config == nullptr)
    return invalid_argument("The tokenizer has no decoder; byte-level BPE needs ByteLevel.");
  TUTTI_ASSIGN_OR_RETURN(const std::string_view type, string_field(*config, "type", "the decoder"));
  if (type == "ByteLevel") return {};
  return unimplemented(
      fmt::format("The decoder type '{}' is not supported; supported is ByteLevel.", type));
}

Result<BpeOptions> bpe_options(const json::object& model) {
  constexpr std::string_view kWhat = "the BPE model";
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    TUTTI_ASSIGN_OR_RETURN(const std::string_view text, string_field(model, affix, kWhat));
    if (!text.empty())
      return unimplemented(fmt::format("A BPE model with {} '{}' is not supported.", affix, text));
  }
  TUTTI_ASSIGN_OR_RETURN(const bool byte_fallback,
                         bool_field(model, "byte_fallback", false, kWhat));
  if (byte_fallback)
    return unimplemented("A BPE model with byte_fallback is not supported; byte-level BPE is.");
  const json::value* dropout = model.if_contains("dropout");
  if (dropout != nullptr && !dropout->is_null() &&
      !(dropout->is_number() && dropout->to_number<double>() == 0)) {
    return unimplemented("A BPE model with dropout is not supported.");
  }
  BpeOptions options;
  TUTTI_ASSIGN_OR_RETURN(options.unk_token, string_field(model, "unk_token", kWhat));
  TUTTI_ASSIGN_OR_RETURN(options.fuse_unk, bool_field(model, "fuse_unk", false, kWhat));
  TUTTI_ASSIGN_OR_RETURN(options.ignore_merges, bool_field(model, "ignore_merges", false, kWhat));
  return options;
}

Status read_tokenizer_json(const json::object& file, TokenizerParts& parts) {
  constexpr std::string_view kWhat = "the tokenizer";
  TUTTI_ASSIGN_OR_RETURN(const json::object* model, object_field(file, "model", kWhat));
  if (model == nullptr) return invalid_argument("The tokenizer has no 'model'.");
  TUTTI_ASSIGN_OR_RETURN(const std::string_view type, string_field(*model, "type", "the model"));
  // Files of the first versions have no type.
  if (!type.empty() && type != "BPE") {
    return unimplemented(
        fmt::format("The model type '{}' is not supported; supported is BPE.", type));
  }
  TUTTI_ASSIGN_OR_RETURN(const json::object* vocab, object_field(*model, "vocab", "the model"));
  TUTTI_ASSIGN_OR_RETURN(const json::array* merges, array_field(*model, "merges", "the model"));
  if (vocab == nullptr || merges == nullptr)
    return invalid_argument("The model lacks 'vocab' or 'merges'.");
  TUTTI_ASSIGN_OR_RETURN(BpeOptions options, bpe_options(*model));
  TUTTI_ASSIGN_OR_RETURN(std::vector<VocabEntry> entries, vocab_entries(*vocab));
  TUTTI_ASSIGN_OR_RETURN(const std::vector<MergePair> pairs, merge_pairs(*merges));
  TUTTI_ASSIGN_OR_RETURN(parts.bpe, Bpe::build(std::move(entries), pairs, std::move(options)));

  TUTTI_ASSIGN_OR_RETURN(const json::object* normalizer, object_field(file, "normalizer", kWhat));
  TUTTI_ASSIGN_OR_RETURN(parts.normalizer, Normalizer::from_json(normalizer));
  TUTTI_ASSIGN_OR_RETURN(const json::object* pre_tokenizer,
                         object_field(file, "pre_tokenizer", kWhat));
  TUTTI_ASSIGN_OR_RETURN(parts.pre_tokenizer, PreTokenizer::from_json(pre_tokenizer));
  TUTTI_ASSIGN_OR_RETURN(const json::object* post_processor,
                         object_field(file, "post_processor", kWhat));
  TUTTI_RETURN_IF_ERROR(read_post_processor(post_processor, parts));
  TUTTI_ASSIGN_OR_RETURN(const json::object* decoder, object_field(file, "decoder", kWhat));
  TUTTI_RETURN_IF_ERROR(check_decoder(decoder));
  return read_added_tokens(file, parts);
}

// Without tokenizer.json the class named in tokenizer_config.json says how text is normalized and
// split.
Status read_vocab_and_merges(const fs::path& dir, const json::object& config,
                             TokenizerParts& parts) {
  const fs::path vocab_path = dir / "vocab.json";
  const fs::path merges_path = dir / "merges.txt";
  TUTTI_ASSIGN_OR_RETURN(const json::object vocab, read_json_object(vocab_path));
  TUTTI_ASSIGN_OR_RETURN(const std::vector<MergePair> merges, read_merges_txt(merges_path));
  Result<std::vector<VocabEntry>> entries = vocab_entries(vocab);
  if (!entries)
    return std::move(entries).error().with_context(fmt::format("'{}'", vocab_path.string()));
  Result<Bpe> bpe = Bpe::build(std::move(*entries), merges, {});
  if (!bpe) return std::move(bpe).error().with_context(fmt::format("'{}'", merges_path.string()));
  parts.bpe = std::move(*bpe);

  TUTTI_ASSIGN_OR_RETURN(std::string_view tokenizer_class,
                         string_field(config, "tokenizer_class", "tokenizer_config.json"));
  if (tokenizer_class.ends_with("Fast")) tokenizer_class.remove_suffix(4);
  if (tokenizer_class == "GPT2Tokenizer") {
    TUTTI_ASSIGN_OR_RETURN(parts.pre_tokenizer, PreTokenizer::byte_level(kGpt2Pattern));
  } else if (tokenizer_class.empty() || tokenizer_class == "Qwen2Tokenizer") {
    parts.normalizer = Normalizer::nfc();
    TUTTI_ASSIGN_OR_RETURN(parts.pre_tokenizer, PreTokenizer::byte_level(kQwen2Pattern));
  } else {
    return unimplemented(
        fmt::format("The tokenizer_class '{}' is not supported without a tokenizer.json; supported "
                    "are Qwen2Tokenizer and GPT2Tokenizer.",
                    tokenizer_class));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::load(const fs::path& model_dir) {
  std::error_code error;
  if (!fs::is_directory(model_dir, error)) {
    return not_found(fmt::format("The model directory '{}' does not exist or is not a directory.",
                                 model_dir.string()));
  }
  const fs::path tokenizer_path = model_dir / "tokenizer.json";
  const fs::path config_path = model_dir / "tokenizer_config.json";
  json::object config;
  if (fs::exists(config_path, error)) {
    TUTTI_ASSIGN_OR_RETURN(config, read_json_object(config_path));
  }
  TokenizerParts parts;
  if (fs::exists(tokenizer_path, error)) {
    TUTTI_ASSIGN_OR_RETURN(const json::object file, read_json_object(tokenizer_path));
    Status status = read_tokenizer_json(file, parts);
    if (!status.ok())
      return std::move(status).with_context(fmt::format("'{}'", tokenizer_path.string()));
  } else if (fs::exists(model_dir / "vocab.json", error)) {
    TUTTI_RETURN_IF_ERROR(read_vocab_and_merges(model_dir, config, parts));
  } else {
    return not_found(fmt::format(
        "'{}' has no tokenizer: neither tokenizer.json nor vocab.json with merges.txt is there.",
        model_dir.string()));
  }
  Status status = read_config(config, parts);
  if (!status.ok())
    return std::move(status).with_context(fmt::format("'{}'", config_path.string()));
  Result<std::shared_ptr<const Tokenizer>> tokenizer = Tokenizer::build(std::move(parts));
  if (!tokenizer)
    return std::move(tokenizer).error().with_context(fmt::format("'{}'", model_dir.string()));
  return tokenizer;
}

}  // namespace tutti::text
