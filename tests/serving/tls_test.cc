// `tutti serve` over TLS, with certificates made on the spot, and what wrong files give.
// Cross-origin calls and keys are tested here too: who may talk with the server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "process.h"
#include "socket_client.h"

namespace tutti::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class ServeTls : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tutti_tls_XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    make_certificate("one");
    make_certificate("other");
    std::ofstream(dir_ / "text.pem") << "no certificate\n";
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(dir_); }

  static void make_certificate(const std::string& name) {
    const ProcessResult made = run_process(
        {"/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", file(name + ".key"), "-out", file(name + ".pem")});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  static std::string file(const std::string& name) { return (dir_ / name).string(); }
  static std::vector<std::string> flags(const std::string& cert, const std::string& key) {
    return {"--tls-cert", file(cert), "--tls-key", file(key)};
  }

  static inline std::filesystem::path dir_;
};

// The answer over TLS to a server whose certificate must be `trusted`; the error when it fails.
std::string ask_over_tls(const ServerProcess& server, const std::string& trusted,
                         const std::string& bytes, int version = TLS1_3_VERSION) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  &SSL_CTX_free);
  SSL_CTX_load_verify_locations(context.get(), trusted.c_str(), nullptr);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_security_level(context.get(), 0);
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  const std::string address = "127.0.0.1:" + std::to_string(server.port());
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_ssl_connect(context.get()),
                                                          &BIO_free_all);
  BIO_set_conn_hostname(bio.get(), address.c_str());
  if (BIO_do_connect(bio.get()) <= 0) {
    std::string text(256, '\0');
    ERR_error_string_n(ERR_get_error(), text.data(), text.size());
    return text;
  }
  BIO_write(bio.get(), bytes.data(), static_cast<int>(bytes.size()));
  std::string answer;
  char buffer[4096];
  for (int count = 0; (count = BIO_read(bio.get(), buffer, sizeof(buffer))) > 0;)
    answer.append(buffer, static_cast<size_t>(count));
  return answer;
}

TEST_F(ServeTls, AnswersAndStreamsOverTls) {
  const ServerProcess server(flags("one.pem", "one.key"));
  ASSERT_GT(server.port(), 0);
  EXPECT_THAT(ask_over_tls(server, file("one.pem"), http_request("GET", "/health")),
              HasSubstr(R"("status":"ready")"));
  EXPECT_THAT(ask_over_tls(server, file("one.pem"),
                           http_request("POST", "/v1/chat/completions",
                                        R"({"messages":[{"role":"user","content":"Hello"}],)"
                                        R"("stream":true})"),
                           TLS1_2_VERSION),
              HasSubstr("data: [DONE]"));
  // Who trusts another certificate, or speaks an old version, does not get in.
  EXPECT_THAT(ask_over_tls(server, file("other.pem"), http_request("GET", "/health")),
              HasSubstr("certificate verify failed"));
  EXPECT_THAT(ask_over_tls(server, file("one.pem"), http_request("GET", "/health"), TLS1_1_VERSION),
              Not(HasSubstr("HTTP/1.1")));
  // Bare HTTP is no handshake.
  EXPECT_THAT(ask(server, http_request("GET", "/health")), Not(HasSubstr("ready")));
}

TEST_F(ServeTls, WrongFilesAreOneSentence) {
  const auto start = [](const std::vector<std::string>& tls) {
    std::vector<std::string> command{TUTTI_BINARY, "serve", "nano", "--port", "0"};
    command.insert(command.end(), tls.begin(), tls.end());
    return run_process(command);
  };
  struct Case {
    std::vector<std::string> flags;
    std::string sentence;
  };
  const std::vector<Case> cases{
      {flags("missing.pem", "one.key"), "missing.pem is no PEM certificate chain"},
      {flags("text.pem", "one.key"), "text.pem is no PEM certificate chain"},
      {flags("one.pem", "missing.key"), "missing.key is no PEM key that fits the certificate"},
      {flags("one.pem", "text.pem"), "text.pem is no PEM key that fits the certificate"},
      {flags("one.pem", "other.key"), "other.key is no PEM key that fits the certificate"},
      {{"--tls-cert", file("one.pem")}, "TLS needs both a certificate and a key"},
  };
  for (const Case& wrong : cases) {
    const ProcessResult result = start(wrong.flags);
    EXPECT_EQ(result.exit_code, 2) << wrong.sentence;
    EXPECT_THAT(result.err, StartsWith("error: "));
    EXPECT_THAT(result.err, HasSubstr(wrong.sentence));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

TEST(ServeAccess, PagesOfOtherOriginsNeedAFlag) {
  const std::string origin = "Origin: https://page.example\r\n";
  const std::string preflight =
      http_request("OPTIONS", "/v1/models", "", origin + "Access-Control-Request-Method: POST\r\n");
  {
    const ServerProcess closed;
    const std::string answer = ask(closed, http_request("GET", "/v1/models", "", origin));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
    EXPECT_EQ(header_of(answer, "Access-Control-Allow-Origin"), "");
    EXPECT_THAT(ask(closed, preflight), StartsWith("HTTP/1.1 405"));
  }
  const ServerProcess open({"--cors-origin", "https://page.example", "--api-key", "secret"});
  const std::string allowed = ask(open, preflight);
  EXPECT_THAT(allowed, StartsWith("HTTP/1.1 204"));
  EXPECT_EQ(header_of(allowed, "Access-Control-Allow-Origin"), "https://page.example");
  EXPECT_THAT(header_of(allowed, "Access-Control-Allow-Headers"), HasSubstr("Authorization"));
  // The key is still needed, and the page may read why.
  const std::string without = ask(open, http_request("GET", "/v1/models", "", origin));
  EXPECT_THAT(without, StartsWith("HTTP/1.1 401"));
  EXPECT_EQ(header_of(without, "Access-Control-Allow-Origin"), "https://page.example");
  const std::string stranger =
      ask(open, http_request("GET", "/v1/models", "",
                             "Origin: https://evil.example\r\nAuthorization: Bearer secret\r\n"));
  EXPECT_EQ(header_of(stranger, "Access-Control-Allow-Origin"), "");
}

TEST(ServeAccess, EveryPathThatCostsSomethingAsksForAKey) {
  const ServerProcess server({"--api-key", "first", "--api-key", "second"});
  for (const char* path : {"/v1/models", "/v1/audio/voices", "/v1/streams", "/v1/responses/x"}) {
    EXPECT_THAT(ask(server, http_request("GET", path)), StartsWith("HTTP/1.1 401")) << path;
  }
  for (const char* path :
       {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/audio/speech",
        "/v1/audio/transcriptions", "/tokenize", "/detokenize", "/v1/load_lora_adapter",
        "/v1/omni/sleep", "/start_profile"}) {
    EXPECT_THAT(ask(server, http_request("POST", path, "{}")), StartsWith("HTTP/1.1 401")) << path;
  }
  for (const char* scheme : {"Bearer first", "Bearer second", "bearer first", "BEARER  first"}) {
    EXPECT_THAT(ask(server, http_request("GET", "/v1/models", "",
                                         std::string("Authorization: ") + scheme + "\r\n")),
                StartsWith("HTTP/1.1 200"))
        << scheme;
  }
  for (const char* key : {"", "firs", "firstfirst", "FIRST"}) {
    EXPECT_THAT(ask(server, http_request("GET", "/v1/models", "",
                                         std::string("Authorization: Bearer ") + key + "\r\n")),
                StartsWith("HTTP/1.1 401"))
        << key;
  }
}

}  // namespace
}  // namespace tutti::testing
