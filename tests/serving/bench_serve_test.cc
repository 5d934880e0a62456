// `tutti bench serve` against `tutti serve nano`, both the real binary.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "process.h"
#include "server_process.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProcessOptions;
using testing::ProcessResult;
using testing::ServerProcess;

ProcessResult bench(std::vector<std::string> flags, const ProcessOptions& options = {}) {
  flags.insert(flags.begin(), {TUTTI_BINARY, "bench", "serve"});
  return testing::run_process(flags, options);
}

// A directory of this test's own, removed at the end.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "tutti-bench-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(file(name)) << text;
    return file(name);
  }

 private:
  fs::path path_;
};

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

double number(const json::object& figures, const std::string& name) {
  const json::value* value = figures.if_contains(name);
  return value != nullptr && value->is_number() ? value->to_number<double>() : -1;
}

class BenchServe : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<ServerProcess>(); }
  static void TearDownTestSuite() { server_.reset(); }

  // Runs with the flags and returns the JSON figures; all requests must succeed.
  json::object figures(std::vector<std::string> flags) {
    const std::string path = folder_.file("figures.json");
    flags.insert(flags.end(),
                 {"--port", std::to_string(server_->port()), "--quiet", "--result-filename", path});
    const ProcessResult run = bench(flags);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    out_ = run.out;
    boost::system::error_code bad;
    const json::value value = json::parse(text_of(path), bad);
    EXPECT_FALSE(bad);
    EXPECT_EQ(number(value.as_object(), "failed"), 0) << run.out;
    return value.as_object();
  }

  static inline std::unique_ptr<ServerProcess> server_;
  Folder folder_;
  std::string out_;
};

TEST_F(BenchServe, MeasuresTextOfAClosedLoop) {
  const json::object f = figures({"--num-prompts", "12", "--max-concurrency", "4", "--output-len",
                                  "8", "--ignore-eos", "--metric-percentiles", "50,99"});
  EXPECT_EQ(number(f, "completed"), 12);
  EXPECT_EQ(number(f, "total_output_tokens"), 12 * 8);
  EXPECT_EQ(number(f, "max_concurrent_requests"), 4);
  EXPECT_GT(number(f, "median_ttft_ms"), 0);
  EXPECT_GT(number(f, "mean_tpot_ms"), 0);
  EXPECT_GE(number(f, "p99_e2el_ms"), number(f, "p50_e2el_ms"));
  EXPECT_GE(number(f, "median_e2el_ms"), number(f, "median_ttft_ms"));
  EXPECT_EQ(f.at("model_id").as_string(), "nano");
  EXPECT_EQ(number(f, "total_audio_duration_s"), -1);
  EXPECT_THAT(out_, HasSubstr("Time to first token (ms)"));
  EXPECT_THAT(out_, Not(HasSubstr("Audio")));
}

TEST_F(BenchServe, MeasuresSpeechOfEveryBackend) {
  for (const std::string backend : {"openai-chat-omni", "openai-audio-speech", "openai-realtime"}) {
    const json::object f =
        figures({"--backend", backend, "--num-prompts", "4", "--max-concurrency", "2"});
    EXPECT_EQ(number(f, "completed"), 4) << backend;
    EXPECT_GT(number(f, "total_audio_duration_s"), 2) << backend;
    EXPECT_GE(number(f, "median_audio_ttfa_ms"), number(f, "median_audio_ttfp_ms")) << backend;
    EXPECT_GT(number(f, "mean_audio_rtf"), 0) << backend;
    EXPECT_GE(number(f, "audio_continuity_ok_rate"), 0) << backend;
    EXPECT_EQ(number(f, "median_ttft_ms") > 0, backend != "openai-audio-speech");
  }
}

TEST_F(BenchServe, RunsAnOpenLoopAndDrawsIt) {
  const std::string plot = folder_.file("plot.svg");
  const json::object f =
      figures({"--backend", "openai", "--num-prompts", "10", "--request-rate", "20", "--burstiness",
               "0.5", "--output-len", "4", "--ignore-eos", "--plot", plot, "--save-detailed"});
  EXPECT_EQ(number(f, "request_rate"), 20);
  EXPECT_EQ(number(f, "burstiness"), 0.5);
  EXPECT_EQ(number(f, "request_goodput"), -1);
  EXPECT_THAT(out_, Not(HasSubstr("goodput")));
  const json::array& requests = f.at("requests").as_array();
  ASSERT_EQ(requests.size(), 10u);
  EXPECT_LT(requests.front().at("start_time").as_double(),
            requests.back().at("start_time").as_double());
  EXPECT_THAT(text_of(plot), HasSubstr("<svg"));
}

TEST_F(BenchServe, CountsTheRequestsThatKeepEveryLimit) {
  const std::vector<std::string> load{"--backend", "openai-chat-omni", "--num-prompts", "3"};
  const auto with = [&](const std::vector<std::string>& limits) {
    std::vector<std::string> flags = load;
    flags.emplace_back("--goodput");
    flags.insert(flags.end(), limits.begin(), limits.end());
    return figures(flags);
  };
  const json::object kept = with({"ttft:600000", "tpot:600000", "ttfa:600000", "e2e:600000"});
  EXPECT_EQ(number(kept, "request_goodput"), number(kept, "request_throughput"));
  EXPECT_EQ(number(kept.at("goodput_limits_ms").as_object(), "ttfa"), 600'000);
  EXPECT_THAT(out_, HasSubstr("Request goodput (req/s):"));
  const json::object missed = with({"ttft:600000", "e2e:0.001"});
  EXPECT_EQ(number(missed, "request_goodput"), 0);
  EXPECT_GT(number(missed, "request_throughput"), 0);
}

TEST_F(BenchServe, MakesTheResultFolderAndWritesNullForWhatThereIsNot) {
  const std::string folder = folder_.file("new/results");
  const ProcessResult run =
      bench({"--port", std::to_string(server_->port()), "--quiet", "--num-prompts", "1",
             "--output-len", "4", "--save-detailed", "--result-dir", folder});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  ASSERT_TRUE(fs::is_directory(folder));
  const std::string path = fs::directory_iterator(folder)->path().string();
  const json::value value = json::parse(text_of(path));
  const json::object& request = value.at("requests").at(0).as_object();
  for (const char* none : {"audio_ttfp", "audio_ttfa", "audio_duration", "audio_underrun"}) {
    EXPECT_TRUE(request.at(none).is_null()) << none;
  }
  EXPECT_GT(number(request, "ttft"), 0);
}

TEST_F(BenchServe, TakesPromptsFromAFile) {
  const std::string path = folder_.write(
      "prompts.jsonl", R"({"prompt":"What is the capital of France?","output_tokens":3})"
                       "\n\n"
                       R"({"messages":[{"role":"user","content":"Hello"}],"output_tokens":5})"
                       "\n");
  const json::object f = figures({"--dataset-path", path, "--num-prompts", "4", "--ignore-eos"});
  EXPECT_EQ(number(f, "total_output_tokens"), 16);
}

TEST_F(BenchServe, SpeaksIntoTheModel) {
  const std::string question = TUTTI_TEST_DATA "/nano/media/ask_legs.wav";
  const std::string path = folder_.write("spoken.jsonl", R"({"audio":")" + question + "\"}\n");
  for (const std::string backend : {"openai-chat", "openai-realtime"}) {
    const json::object f =
        figures({"--backend", backend, "--dataset-path", path, "--num-prompts", "1"});
    EXPECT_EQ(number(f, "completed"), 1) << backend;
  }
}

TEST_F(BenchServe, SaysWhatTheServerRefused) {
  const ProcessResult run = bench({"--port", std::to_string(server_->port()), "--num-prompts", "3",
                                   "--extra-body", R"({"temprature":1})", "--quiet"});
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("3 x HTTP 400: "));
  EXPECT_THAT(run.out, HasSubstr("did you mean `temperature`"));
  EXPECT_THAT(run.err, HasSubstr("none of the 3 requests succeeded"));
}

TEST_F(BenchServe, AnInterruptEndsItWithWhatWasMeasured) {
  ProcessOptions options;
  options.timeout = std::chrono::seconds(60);
  options.interrupt_after = std::chrono::seconds(2);
  const ProcessResult run = bench({"--port", std::to_string(server_->port()), "--num-prompts",
                                   "100000", "--max-concurrency", "2", "--quiet"},
                                  options);
  EXPECT_EQ(run.exit_code, 130);
  EXPECT_THAT(run.out, HasSubstr("Unfinished requests:"));
  EXPECT_THAT(run.out, HasSubstr("Time to first token (ms)"));
}

TEST(BenchServeTls, MeasuresOverTls) {
  const Folder folder;
  const ProcessResult made = testing::run_process(
      {"/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
       "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", folder.file("key.pem"), "-out",
       folder.file("cert.pem")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const ServerProcess server(
      {"--tls-cert", folder.file("cert.pem"), "--tls-key", folder.file("key.pem")});
  const std::string url = "https://localhost:" + std::to_string(server.port());
  for (const std::string backend : {"openai-chat", "openai-realtime"}) {
    const ProcessResult run = bench(
        {"--base-url", url, "--insecure", "--backend", backend, "--num-prompts", "2", "--quiet"});
    EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
    EXPECT_THAT(run.out, HasSubstr("Failed requests:                               0"));
  }
  // Nobody vouches for the certificate.
  const ProcessResult refused = bench({"--base-url", url, "--num-prompts", "2", "--quiet"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("certificate verify failed"));
}

TEST(BenchServeFlags, WrongOnesAreOneSentence) {
  const Folder folder;
  const std::string bad_line = folder.write("bad.jsonl", "{\"prompt\":\"a\"}\n{\"prmpt\":1}\n");
  struct Case {
    std::vector<std::string> flags;
    int code;
    std::string part;
  };
  const std::vector<Case> cases{
      {{"--request-rate", "0"}, 2, "no rate above 0"},
      {{"--num-prompts", "0"}, 2, "'0' is not allowed; allowed is an integer from 1 to 10000000"},
      {{"--burstiness", "0"}, 2, "'0' is not allowed; allowed is a number from 0.01 to 1000"},
      {{"--max-concurrency", "-1"}, 2, "allowed is an integer from 0 to 1000000"},
      {{"--seed", "x"}, 2, "--seed: 'x' is not allowed"},
      {{"--goodput", "ttft:100", "itl:20"}, 2, "--goodput has 'itl:20'; it must be ttft:MS"},
      {{"--goodput", "ttfa:100"}, 2, "answers of openai-chat have no speech"},
      {{"--save-result", "--result-dir", bad_line + "/results"}, 1, "cannot be made"},
      {{"--backend", "grpc"}, 2, "grpc"},
      {{"--max-concurency", "3"}, 2, "did you mean '--max-concurrency'?"},
      {{"--base-url", "ftp://x"}, 2, "'ftp://x' is no http://HOST:PORT"},
      {{"--extra-body", "[1]"}, 2, "no JSON object"},
      {{"--endpoint", "v1"}, 2, "must begin with '/'"},
      {{"--header", "Oops"}, 2, "NAME=VALUE"},
      {{"--metric-percentiles", "101"}, 2, "101"},
      {{"--plot", "/no/such/place.svg"}, 1, "there is no directory"},
      {{"--dataset-path", "/no/such.jsonl"}, 1, "cannot be read"},
      {{"--dataset-path", bad_line}, 1, "Line 2 of"},
      {{"--port", "1"}, 1, "There is no connection to http://127.0.0.1:1"},
      {{"--base-url", "http://no-such-host.invalid"}, 1, "has no address"},
  };
  for (const Case& c : cases) {
    const ProcessResult run = bench(c.flags);
    EXPECT_EQ(run.exit_code, c.code) << c.part << ": " << run.err;
    EXPECT_THAT(run.err, HasSubstr(c.part));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  }
  const ProcessResult unknown = testing::run_process({TUTTI_BINARY, "bench", "sevre"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean 'serve'?"));
}

}  // namespace
}  // namespace tutti
