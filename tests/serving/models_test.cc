// Adapters as models: in the list, selected by name, loaded and unloaded at run time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <boost/json.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "process.h"
#include "socket_client.h"

namespace tutti::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A PEFT adapter of one map of Tutti Nano's thinker, strong enough to change any answer.
class ServeModels : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tutti_lora_XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    std::ofstream(dir_ / "adapter_config.json")
        << R"({"peft_type":"LORA","r":1,"lora_alpha":1,"bias":"none","target_modules":["o_proj"]})";
    constexpr int kHidden = 256;
    const std::string name = "base_model.model.thinker.model.layers.0.self_attn.o_proj.lora_";
    const auto entry = [&](int rows, int columns, int at) {
      return boost::json::object{{"dtype", "F32"},
                                 {"shape", {rows, columns}},
                                 {"data_offsets", {at, at + 4 * rows * columns}}};
    };
    const std::string header = boost::json::serialize(
        boost::json::object{{name + "A.weight", entry(1, kHidden, 0)},
                            {name + "B.weight", entry(kHidden, 1, 4 * kHidden)}});
    std::ofstream file(dir_ / "adapter_model.safetensors", std::ios::binary);
    const uint64_t size = header.size();
    file.write(reinterpret_cast<const char*>(&size), sizeof(size));
    file << header;
    for (int i = 0; i < 2 * kHidden; ++i) {
      const auto value = static_cast<float>(20 * std::sin(i * 1.7));
      file.write(reinterpret_cast<const char*>(&value), sizeof(value));
    }
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(dir_); }

  static std::string chat(const std::string& model) {
    return http_request("POST", "/v1/chat/completions",
                        R"({"messages":[{"role":"user","content":"Hello"}],"temperature":0,)"
                        R"("max_tokens":12,"model":")" +
                            model + "\"}");
  }
  static std::string words(const std::string& answer) {
    const size_t at = answer.find("\"content\":");
    return at == std::string::npos ? answer
                                   : answer.substr(at, answer.find(",\"refusal\"", at) - at);
  }
  static std::string load(const std::string& name, const std::string& path = dir_.string()) {
    return http_request(
        "POST", "/v1/load_lora_adapter",
        boost::json::serialize(boost::json::object{{"lora_name", name}, {"lora_path", path}}));
  }

  static inline std::filesystem::path dir_;
};

TEST_F(ServeModels, AnAdapterOfTheCommandLineIsAModel) {
  const ServerProcess server({"--lora-modules", "pirate=" + dir_.string()});
  const std::string list = ask(server, http_request("GET", "/v1/models"));
  EXPECT_THAT(list, HasSubstr(R"("id":"nano")"));
  EXPECT_THAT(list, HasSubstr(R"("id":"pirate")"));
  EXPECT_THAT(list, HasSubstr(R"("parent":"nano")"));
  EXPECT_THAT(ask(server, http_request("GET", "/v1/models/pirate")), StartsWith("HTTP/1.1 200"));
  const std::string plain = ask(server, chat("nano"));
  const std::string changed = ask(server, chat("pirate"));
  EXPECT_THAT(changed, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(changed, HasSubstr(R"("model":"pirate")"));
  EXPECT_NE(words(plain), words(changed));
  EXPECT_EQ(words(plain), words(ask(server, chat("nano"))));
}

TEST_F(ServeModels, AdaptersComeAndGoAtRunTime) {
  const ServerProcess server({"--allowed-lora-path", dir_.parent_path().string()});
  EXPECT_THAT(ask(server, chat("pirate")), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(ask(server, load("pirate")), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(server, chat("pirate")), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(server, chat("nothing")), HasSubstr("there is: nano, pirate."));
  EXPECT_THAT(
      ask(server, http_request("POST", "/v1/unload_lora_adapter", R"({"lora_name":"pirate"})")),
      StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask(server, chat("pirate")), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(ask(server, http_request("GET", "/v1/models")), Not(HasSubstr("pirate")));
}

TEST_F(ServeModels, AdaptersComeFromWhereTheOperatorAllows) {
  const ServerProcess closed;
  const std::string refused = ask(closed, load("pirate"));
  EXPECT_THAT(refused, StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(refused, HasSubstr("--allowed-lora-path"));
  const auto inside = dir_ / "inside";
  std::filesystem::create_directories(inside);
  const ServerProcess server({"--allowed-lora-path", inside.string()});
  // There, elsewhere, and nowhere: who asks does not find out which is which.
  for (const std::string& path : {dir_.string(), (inside / "..").string(), inside.string(),
                                  std::string("/etc"), std::string("/nonexistent")}) {
    const std::string answer = ask(server, load("pirate", path));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 400")) << path;
    EXPECT_THAT(answer, HasSubstr("must be below a directory that the operator allows")) << path;
  }
  std::filesystem::create_directory_symlink(dir_, inside / "link");
  EXPECT_THAT(ask(server, load("pirate", (inside / "link").string())),
              HasSubstr("must be below a directory"));
  std::filesystem::remove_all(inside);
  const ProcessResult wrong = run_process(
      {TUTTI_BINARY, "serve", "nano", "--port", "0", "--allowed-lora-path", "/nonexistent"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("must be a directory that exists"));
}

TEST_F(ServeModels, WhatIsNoAdapterIsRefused) {
  const ServerProcess server({"--allowed-lora-path", dir_.string()});
  EXPECT_THAT(ask(server, load("x", (dir_ / "nothing").string())), StartsWith("HTTP/1.1 4"));
  EXPECT_THAT(ask(server, http_request("GET", "/v1/models")), Not(HasSubstr("\"x\"")));
  const ProcessResult wrong =
      run_process({TUTTI_BINARY, "serve", "nano", "--port", "0", "--lora-modules", "nameless"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("must be NAME=DIRECTORY"));
}

}  // namespace
}  // namespace tutti::testing
