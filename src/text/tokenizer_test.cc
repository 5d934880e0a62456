#include "text/tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <boost/json.hpp>
#include <random>

#include "base/json_file.h"
#include "text/test_util.h"
#include "text/utf8.h"

namespace tutti::text {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const Tokenizer> load(const std::filesystem::path& dir) {
  auto tokenizer = Tokenizer::load(dir);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

std::filesystem::path qwen3_checkpoint() { return golden_dir() / "qwen3_omni_moe" / "checkpoint"; }

// A directory whose tokenizer.json has these parts; the vocabulary is all byte letters from 0 on,
// then `extra_vocab` from 256 on.
class MadeTokenizer {
 public:
  MadeTokenizer() {
    json::object vocab;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      vocab[letters_of_bytes({&c, 1})] = byte;
    }
    file_ = {{"normalizer", nullptr},
             {"pre_tokenizer",
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
             {"post_processor", nullptr},
             {"decoder", {{"type", "ByteLevel"}}},
             {"added_tokens", json::array()},
             {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", json::array()}}}};
  }
  json::object& file() { return file_; }
  json::object& model() { return file_["model"].as_object(); }
  void token(std::string_view text, int id) { model()["vocab"].as_object()[text] = id; }
  void merge(std::string_view left, std::string_view right) {
    model()["merges"].as_array().push_back(json::array{left, right});
  }
  void added(json::object token) {
    if (!token.contains("normalized")) token["normalized"] = false;
    file_["added_tokens"].as_array().push_back(token);
  }
  Result<std::shared_ptr<const Tokenizer>> try_load() const {
    TempDir dir;
    dir.write("tokenizer.json", json::serialize(file_));
    return Tokenizer::load(dir.path());
  }
  std::shared_ptr<const Tokenizer> load() const {
    auto tokenizer = try_load();
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
    return tokenizer.ok() ? *tokenizer : nullptr;
  }

 private:
  json::object file_;
};

std::vector<int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text,
                            EncodeOptions options = {}) {
  auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status().to_string();
  return ids.ok() ? *ids : std::vector<int32_t>{};
}

class TokenizerGolden : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerGolden, EveryRowIsEqual) {
  auto file =
      read_json_object(golden_dir() / "frontend" / fmt::format("tokenizer_{}.json", GetParam()));
  ASSERT_TRUE(file.ok());
  auto tokenizer = load(golden_dir() / "frontend" / std::string((*file)["tokenizer"].as_string()));
  ASSERT_TRUE(tokenizer);
  for (const json::value& row : (*file)["rows"].as_array()) {
    const std::string_view text = row.at("text").as_string();
    const auto expected = json::value_to<std::vector<int32_t>>(row.at("ids"));
    EXPECT_EQ(ids_of(*tokenizer, text), expected) << text;
    EXPECT_EQ(tokenizer->decode(expected), row.at("decoded").as_string());
    EXPECT_EQ(tokenizer->decode(expected, true), row.at("decoded_skip_special").as_string());
  }
}
INSTANTIATE_TEST_SUITE_P(Families, TokenizerGolden,
                         testing::Values("qwen3_omni_moe", "qwen2_5_omni"));

TEST(Tokenizer, AllFileRoutesGiveTheSameIds) {
  for (const char* family : {"qwen3_omni_moe", "qwen2_5_omni"}) {
    const auto checkpoint = golden_dir() / family / "checkpoint";
    TempDir hub_layout;  // as the published Qwen3-Omni: no tokenizer.json
    for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"})
      hub_layout.copy(checkpoint / name);
    const auto a = load(checkpoint);
    const auto b = load(hub_layout.path());
    const auto c = load(checkpoint / "saved_by_processor");
    ASSERT_TRUE(a && b && c);
    EXPECT_EQ(a->vocab_size(), b->vocab_size());
    EXPECT_EQ(a->vocab_size(), c->vocab_size());
    EXPECT_EQ(a->eos_id(), b->eos_id());
    EXPECT_EQ(a->eos_id(), c->eos_id());
    EXPECT_EQ(a->pad_id(), c->pad_id());
    for (int32_t id = 0; id < a->vocab_size(); ++id) {
      ASSERT_EQ(a->id_to_token(id), b->id_to_token(id));
      ASSERT_EQ(a->id_to_token(id), c->id_to_token(id));
      ASSERT_EQ(a->is_special(id), b->is_special(id));
      ASSERT_EQ(a->is_special(id), c->is_special(id));
    }
    auto rows =
        read_json_object(golden_dir() / "frontend" / fmt::format("tokenizer_{}.json", family));
    ASSERT_TRUE(rows.ok());
    for (const json::value& row : (*rows)["rows"].as_array()) {
      const std::string_view text = row.at("text").as_string();
      const auto expected = json::value_to<std::vector<int32_t>>(row.at("ids"));
      ASSERT_EQ(ids_of(*b, text), expected) << text;
      ASSERT_EQ(ids_of(*c, text), expected) << text;
    }
  }
}

TEST(Tokenizer, NamesItsTokens) {
  auto tokenizer = load(qwen3_checkpoint());
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(tokenizer->vocab_size(), 1233);
  EXPECT_EQ(tokenizer->eos_id(), 1202);
  EXPECT_EQ(tokenizer->pad_id(), 1200);
  EXPECT_EQ(tokenizer->bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer->token_to_id("<|im_start|>"), 1201);
  EXPECT_EQ(tokenizer->id_to_token(1201), "<|im_start|>");
  EXPECT_EQ(tokenizer->id_to_token(1233), std::nullopt);
  EXPECT_EQ(tokenizer->id_to_token(-1), std::nullopt);
  EXPECT_TRUE(tokenizer->is_special(1201));
  EXPECT_FALSE(tokenizer->is_special(1214));  // <tool_call> is added, not special
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{-5, 99999, 39}), "H");
}

TEST(Tokenizer, SpecialTokensCanBePlainText) {
  auto tokenizer = load(qwen3_checkpoint());
  ASSERT_TRUE(tokenizer);
  const auto plain = ids_of(*tokenizer, "<|im_end|>", {.parse_special = false});
  EXPECT_GT(plain.size(), 3u);
  EXPECT_EQ(tokenizer->decode(plain, true), "<|im_end|>");
  EXPECT_THAT(ids_of(*tokenizer, "<tool_call>", {.parse_special = false}), ElementsAre(1214));
}

TEST(Tokenizer, RefusesInvalidUtf8) {
  auto tokenizer = load(qwen3_checkpoint());
  ASSERT_TRUE(tokenizer);
  for (const char* text : {"\xFF", "a\xC3", "\xED\xA0\x80", "\xC0\x80", "\xF4\x90\x80\x80"}) {
    auto ids = tokenizer->encode(text);
    ASSERT_FALSE(ids.ok());
    EXPECT_EQ(ids.error().code(), StatusCode::kInvalidArgument);
  }
}

// Every string of bytes of the vocabulary must survive, whatever the merges do.
TEST(Tokenizer, RandomTextsRoundTrip) {
  auto tokenizer = load(qwen3_checkpoint());
  ASSERT_TRUE(tokenizer);
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    const int length = std::uniform_int_distribution(0, 120)(random);
    for (int i = 0; i < length; ++i) {
      // Hangul, Han, Latin, Greek without combining marks: NFC leaves them alone.
      static constexpr char32_t kFirst[] = {0x20, 0x61, 0x4E00, 0xAC00, 0x391, 0x1F600, 0x0A};
      utf8_append(text, kFirst[std::uniform_int_distribution(0, 6)(random)] +
                            (i % 3 == 0 ? random() % 10 : 0));
    }
    EXPECT_EQ(tokenizer->decode(ids_of(*tokenizer, text)), text);
  }
}

TEST(Tokenizer, ThreadsAndTokenizersShareNothingThatChanges) {
  // Two tokenizers with other ids for the same words, used by turns on every thread.
  const auto a = load(qwen3_checkpoint());
  const auto b = load(golden_dir() / "qwen2_5_omni" / "checkpoint");
  ASSERT_TRUE(a && b);
  const std::string text = "The small train crosses the old bridge, 42 times; it's fine.";
  const auto expected_a = ids_of(*a, text);
  const auto expected_b = ids_of(*b, text);
  ASSERT_NE(expected_a, expected_b);
  std::atomic<int> wrong{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        wrong += *a->encode(text) != expected_a || *b->encode(text) != expected_b;
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST(Tokenizer, LongWordsMergeLikeShortOnes) {
  MadeTokenizer made;
  made.token("ab", 256);
  made.token("abab", 257);
  made.token("ba", 258);
  made.merge("a", "b");
  made.merge("ab", "ab");
  made.merge("b", "a");
  auto tokenizer = made.load();
  ASSERT_TRUE(tokenizer);
  for (const size_t repeats : {3u, 20u, 31u, 33u, 500u}) {
    std::string text;
    for (size_t i = 0; i < repeats; ++i) text += "ab";
    std::vector<int32_t> expected(repeats / 2, 257);
    if (repeats % 2 == 1) expected.push_back(256);
    EXPECT_EQ(ids_of(*tokenizer, text), expected) << repeats;
  }
}

TEST(Tokenizer, IgnoreMergesKeepsWholeWords) {
  MadeTokenizer made;
  made.token("abc", 256);
  auto tokenizer = made.load();
  ASSERT_TRUE(tokenizer);
  EXPECT_THAT(ids_of(*tokenizer, "abc"), ElementsAre(0x61 - 0, 0x62, 0x63));
  made.model()["ignore_merges"] = true;
  tokenizer = made.load();
  ASSERT_TRUE(tokenizer);
  EXPECT_THAT(ids_of(*tokenizer, "abc"), ElementsAre(256));
}

TEST(Tokenizer, MergesMayBeStringsOrPairs) {
  MadeTokenizer made;
  made.token("ab", 256);
  made.model()["merges"] = json::array{"a b"};
  auto tokenizer = made.load();
  ASSERT_TRUE(tokenizer);
  EXPECT_THAT(ids_of(*tokenizer, "ab"), ElementsAre(256));
}

TEST(Tokenizer, AddedTokensTakeSpaceAndMindWords) {
  MadeTokenizer made;
  made.added({{"id", 300}, {"content", "<l>"}, {"lstrip", true}});
  made.added({{"id", 301}, {"content", "<r>"}, {"rstrip", true}});
  made.added({{"id", 302}, {"content", "word"}, {"single_word", true}});
  made.added({{"id", 303}, {"content", "<l>x"}});
  auto tokenizer = made.load();
  ASSERT_TRUE(tokenizer);
  EXPECT_THAT(ids_of(*tokenizer, "a \t<l> b"), ElementsAre('a', 300, ' ', 'b'));
  EXPECT_THAT(ids_of(*tokenizer, "a<r> \n b"), ElementsAre('a', 301, 'b'));
  EXPECT_THAT(ids_of(*tokenizer, "<r> <l>"), ElementsAre(301, 300));
  EXPECT_THAT(ids_of(*tokenizer, "<l>x"), ElementsAre(303));
  EXPECT_THAT(ids_of(*tokenizer, "word"), ElementsAre(302));
  EXPECT_EQ(ids_of(*tokenizer, "words").size(), 5u);
  EXPECT_THAT(ids_of(*tokenizer, "-word-"), ElementsAre('-', 302, '-'));
  EXPECT_EQ(ids_of(*tokenizer, "\xC3\xA9word").size(), 6u);  // é is a word character
}

TEST(Tokenizer, NormalizedTokensAreFoundAfterNormalization) {
  MadeTokenizer made;
  made.file()["normalizer"] = {{"type", "Sequence"},
                               {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}};
  made.added({{"id", 300}, {"content", "TOK"}, {"normalized", true}});
  made.added({{"id", 301}, {"content", "RAW"}});
  auto tokenizer = made.load();
  ASSERT_TRUE(tokenizer);
  EXPECT_THAT(ids_of(*tokenizer, "tOkraw"), ElementsAre(300, 'r', 'a', 'w'));
  EXPECT_THAT(ids_of(*tokenizer, "RAW\xC4\xB0"), ElementsAre(301, 'i', 0xCC, 0x87));
}

TEST(Tokenizer, TemplateProcessingAddsTheBeginToken) {
  MadeTokenizer made;
  made.added({{"id", 300}, {"content", "<s>"}, {"special", true}});
  made.file()["post_processor"] =
      json::parse(R"({"type":"Sequence","processors":[{"type":"ByteLevel"},
    {"type":"TemplateProcessing","single":[
      {"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
     "pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[300],"tokens":["<s>"]}}}]})");
  auto tokenizer = made.load();
  ASSERT_TRUE(tokenizer);
  EXPECT_THAT(ids_of(*tokenizer, "a"), ElementsAre('a'));
  EXPECT_THAT(ids_of(*tokenizer, "a", {.add_special_tokens = true}), ElementsAre(300, 'a'));
}

TEST(Tokenizer, SplitBehaviorsFollowHuggingFace) {
  // Words become visible through ignore_merges: each of these is a token when it stands alone.
  const auto pieces = [](std::string_view behavior, bool invert, std::string_view text) {
    MadeTokenizer made;
    made.model()["ignore_merges"] = true;
    int id = 300;
    for (const char* word : {"a-", "-b", "--", "a", "b", "-", "--b", "a--"}) {
      if (std::string_view(word).size() > 1) made.token(word, id++);
    }
    made.file()["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"},
           {"pattern", {{"String", "-"}}},
           {"behavior", behavior},
           {"invert", invert}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
    auto tokenizer = made.load();
    std::vector<std::string> words;
    if (!tokenizer) return words;
    for (const int32_t token : ids_of(*tokenizer, text))
      words.emplace_back(tokenizer->token_bytes(token));
    return words;
  };
  EXPECT_THAT(pieces("Isolated", false, "a--b"), ElementsAre("a", "-", "-", "b"));
  EXPECT_THAT(pieces("Removed", false, "a--b"), ElementsAre("a", "b"));
  EXPECT_THAT(pieces("Removed", true, "a--b"), ElementsAre("-", "-"));
  EXPECT_THAT(pieces("MergedWithPrevious", false, "a--b"), ElementsAre("a-", "-", "b"));
  EXPECT_THAT(pieces("MergedWithNext", false, "a--b"), ElementsAre("a", "-", "-b"));
  EXPECT_THAT(pieces("Contiguous", false, "a--b"), ElementsAre("a", "--", "b"));
}

TEST(Tokenizer, ByteLevelAddsItsPrefixSpace) {
  MadeTokenizer made;
  made.file()["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
  auto tokenizer = made.load();
  ASSERT_TRUE(tokenizer);
  EXPECT_THAT(ids_of(*tokenizer, "a"), ElementsAre(' ', 'a'));
  EXPECT_THAT(ids_of(*tokenizer, " a"), ElementsAre(' ', 'a'));
}

TEST(Tokenizer, BrokenFilesAreOneClearSentence) {
  const auto message = [](const auto& change) {
    MadeTokenizer made;
    change(made);
    auto tokenizer = made.try_load();
    EXPECT_FALSE(tokenizer.ok());
    return tokenizer.ok() ? std::string() : tokenizer.error().message();
  };
  EXPECT_THAT(message([](auto& m) { m.file()["normalizer"] = {{"type", "Nmt"}}; }),
              HasSubstr("'Nmt'"));
  EXPECT_THAT(message([](auto& m) { m.file()["pre_tokenizer"] = {{"type", "Metaspace"}}; }),
              HasSubstr("'Metaspace'"));
  EXPECT_THAT(message([](auto& m) { m.file()["pre_tokenizer"] = nullptr; }),
              HasSubstr("ByteLevel"));
  EXPECT_THAT(message([](auto& m) { m.file()["decoder"] = {{"type", "Metaspace"}}; }),
              HasSubstr("'Metaspace'"));
  EXPECT_THAT(message([](auto& m) { m.model()["type"] = "Unigram"; }), HasSubstr("'Unigram'"));
  EXPECT_THAT(message([](auto& m) { m.model()["byte_fallback"] = true; }),
              HasSubstr("byte_fallback"));
  EXPECT_THAT(message([](auto& m) { m.merge("a", "zz"); }), HasSubstr("'zz'"));
  EXPECT_THAT(message([](auto& m) { m.token("big", 1 << 25); }), HasSubstr("'big'"));
  EXPECT_THAT(message([](auto& m) { m.token("negative", -1); }), HasSubstr("'negative'"));
  EXPECT_THAT(message([](auto& m) { m.model()["merges"] = json::array{"a"}; }),
              HasSubstr("Merge 0"));
  EXPECT_THAT(message([](auto& m) { m.model()["vocab"] = json::array{}; }), HasSubstr("'vocab'"));
  EXPECT_THAT(message([](auto& m) {
                m.file()["pre_tokenizer"] = {
                    {"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
              }),
              HasSubstr("'(a'"));

  TempDir dir;
  EXPECT_THAT(Tokenizer::load(dir.path()).status().message(),
              HasSubstr("neither tokenizer.json nor vocab.json"));
  EXPECT_EQ(Tokenizer::load(dir.path() / "missing").status().code(), StatusCode::kNotFound);
  dir.write("tokenizer.json", "{\"model\": {\n\"vocab\": {");
  const std::string truncated = Tokenizer::load(dir.path()).status().message();
  EXPECT_THAT(truncated, HasSubstr("tokenizer.json"));
  EXPECT_THAT(truncated, HasSubstr("line 2"));
  dir.write("tokenizer.json", "[]");
  EXPECT_THAT(Tokenizer::load(dir.path()).status().message(), HasSubstr("object"));
}

// Every prefix of a real file is an error, never a crash.
TEST(Tokenizer, TruncatedFilesAreErrors) {
  auto text = read_text_file(qwen3_checkpoint() / "tokenizer.json");
  ASSERT_TRUE(text.ok());
  TempDir dir;
  for (size_t size = 0; size < text->size(); size += 997) {
    dir.write("tokenizer.json", std::string_view(*text).substr(0, size));
    EXPECT_FALSE(Tokenizer::load(dir.path()).ok()) << size;
  }
}

}  // namespace
}  // namespace tutti::text
