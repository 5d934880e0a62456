// URLs against a server inside the test: hosts, addresses, sizes, times, redirects.
#include "media/url_fetch.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "media/http_server_test_util.h"

namespace tutti {
namespace {

using ::testing::HasSubstr;
using testing::http_ok;
using testing::HttpServer;

UrlPolicy loopback() {
  UrlPolicy policy;
  policy.allowed_domains = {"127.0.0.1", "localhost"};
  policy.allowed_address = [](const IpAddress&) { return true; };
  return policy;
}

std::string error_of(const std::string& url, const UrlPolicy& policy, int64_t max_bytes = 1000) {
  const auto body = fetch_url(url, max_bytes, policy);
  return body.ok() ? "no error" : body.error().message();
}

TEST(UrlFetch, Body) {
  const HttpServer server(http_ok("hello"));
  const auto body = fetch_url(server.url("/a.png?x=1#part"), 5, loopback());
  ASSERT_TRUE(body.ok()) << body.error().message();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(body->data()), body->size()), "hello");
  EXPECT_THAT(server.request(), ::testing::StartsWith("GET /a.png?x=1 HTTP/1.1\r\n"));
}

TEST(UrlFetch, LoopbackIsRefusedBeforeAConnection) {
  const HttpServer server(http_ok("secret"));
  UrlPolicy policy = loopback();
  policy.allowed_address = UrlPolicy().allowed_address;
  EXPECT_THAT(error_of(server.url(), policy), HasSubstr("not in the public network"));
  std::string by_name = server.url();
  by_name.replace(by_name.find("127.0.0.1"), 9, "localhost");
  EXPECT_THAT(error_of(by_name, policy), HasSubstr("not in the public network"));
  EXPECT_EQ(server.connections(), 0);
}

TEST(UrlFetch, HostsMustBeAllowed) {
  const HttpServer server(http_ok("hello"));
  UrlPolicy policy = loopback();
  policy.allowed_domains = {};
  EXPECT_THAT(error_of(server.url(), policy), HasSubstr("unless the operator allows domains"));
  policy.allowed_domains = {"example.org"};
  EXPECT_THAT(error_of(server.url(), policy), HasSubstr("allowed are example.org"));
  EXPECT_EQ(server.connections(), 0);
  EXPECT_TRUE(is_allowed_host("Example.ORG.", {"example.org"}));
  EXPECT_TRUE(is_allowed_host("a.b.example.org", {"x", "Example.org"}));
  EXPECT_FALSE(is_allowed_host("badexample.org", {"example.org"}));
  EXPECT_FALSE(is_allowed_host("example.org.evil.net", {"example.org"}));
  EXPECT_FALSE(is_allowed_host("org", {"example.org", ""}));
}

TEST(UrlFetch, SizesAndStatuses) {
  const HttpServer large(http_ok(std::string(2000, 'x')));
  EXPECT_THAT(error_of(large.url(), loopback()), HasSubstr("larger than"));
  const HttpServer endless("HTTP/1.1 200 OK\r\n\r\n" + std::string(5000, 'x'));
  EXPECT_THAT(error_of(endless.url(), loopback()), HasSubstr("larger than"));
  const HttpServer empty(http_ok(""));
  EXPECT_THAT(error_of(empty.url(), loopback()), HasSubstr("empty (0 bytes)"));
  const HttpServer cut("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
  EXPECT_THAT(error_of(cut.url(), loopback()), HasSubstr("cannot be fetched"));
  const HttpServer missing("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
  EXPECT_THAT(error_of(missing.url(), loopback()), HasSubstr("404"));
  const HttpServer moved("HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n");
  EXPECT_THAT(error_of(moved.url(), loopback()), HasSubstr("redirects are not followed"));
}

// A key and a certificate of its own for one name, made for the test, and a server that has them.
class TlsIdentity {
 public:
  explicit TlsIdentity(const std::string& name)
      : key_(EVP_EC_gen("P-256")), certificate_(X509_new()), context_(SSL_CTX_new(TLS_method())) {
    X509_set_version(certificate_, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate_), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate_), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate_), 3600);
    X509_set_pubkey(certificate_, key_);
    X509_NAME* subject = X509_get_subject_name(certificate_);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(certificate_, subject);
    X509_EXTENSION* names =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, ("DNS:" + name).c_str());
    X509_add_ext(certificate_, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(certificate_, key_, EVP_sha256());
    SSL_CTX_use_certificate(context_, certificate_);
    SSL_CTX_use_PrivateKey(context_, key_);
  }
  ~TlsIdentity() {
    SSL_CTX_free(context_);
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  TlsIdentity(const TlsIdentity&) = delete;
  TlsIdentity& operator=(const TlsIdentity&) = delete;

  void write_certificate(const std::string& path) const {
    FILE* file = std::fopen(path.c_str(), "w");
    PEM_write_X509(file, certificate_);
    std::fclose(file);
  }
  HttpServer::Talk talk() const {
    return [this](int peer, const std::string& answer) {
      SSL* connection = SSL_new(context_);
      SSL_set_fd(connection, peer);
      char buffer[4096];
      if (SSL_accept(connection) == 1 && SSL_read(connection, buffer, sizeof buffer) > 0) {
        SSL_write(connection, answer.data(), static_cast<int>(answer.size()));
        SSL_shutdown(connection);
      }
      SSL_free(connection);
    };
  }

 private:
  EVP_PKEY* key_;
  X509* certificate_;
  SSL_CTX* context_;
};

TEST(UrlFetch, CertificatesAreVerified) {
  signal(SIGPIPE, SIG_IGN);  // a client that refuses the certificate hangs up on SSL_write()
  const TlsIdentity identity("localhost");
  const std::string known =
      ::testing::TempDir() + "tutti_certificate_" + std::to_string(getpid()) + ".pem";
  identity.write_certificate(known);
  UrlPolicy policy = loopback();
  policy.timeout_s = 10;
  const auto answer = [&](const std::string& trusted, const std::string& host) {
    setenv("SSL_CERT_FILE", trusted.c_str(), 1);
    const HttpServer server(http_ok("hello"), identity.talk());
    return error_of(server.url("/a.png", "https", host), policy);
  };
  EXPECT_EQ(answer(known, "localhost"), "no error");
  EXPECT_THAT(answer(known, "127.0.0.1"), HasSubstr("certificate verify failed"));
  EXPECT_THAT(answer("/dev/null", "localhost"), HasSubstr("certificate verify failed"));
  unsetenv("SSL_CERT_FILE");
  std::remove(known.c_str());
  const HttpServer plain(http_ok("hello"));
  EXPECT_THAT(error_of(plain.url("/", "https"), policy), HasSubstr("cannot be fetched"));
}

TEST(UrlFetch, EndsInTime) {
  const HttpServer silent("");
  UrlPolicy policy = loopback();
  policy.timeout_s = 0.1;
  EXPECT_THAT(error_of(silent.url(), policy), HasSubstr("took longer than the 0.1 s"));
}

TEST(UrlFetch, UrlsThatAreNone) {
  for (const char* url :
       {"http:///a", "http://", "ftp://127.0.0.1/", "http://127.0.0.1@10.0.0.1/",
        "http://127.0.0.1:99999999/", "http://127.0.0.1:x/", "http://[::1/", "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nX: y", "http://127.0.0.1\\@10.0.0.1/"}) {
    EXPECT_THAT(error_of(url, loopback()), HasSubstr("the URL is no")) << url;
  }
}

TEST(UrlFetch, PublicAddresses) {
  const auto is_public = [](const char* text) {
    IpAddress address = {};
    if (std::strchr(text, ':') == nullptr) {
      address[10] = address[11] = 0xFF;
      EXPECT_EQ(inet_pton(AF_INET, text, address.data() + 12), 1);
    } else {
      EXPECT_EQ(inet_pton(AF_INET6, text, address.data()), 1);
    }
    return is_public_address(address);
  };
  for (const char* address : {"8.8.8.8", "172.32.0.1", "100.128.0.1", "192.169.0.1", "1.1.1.1",
                              "2606:4700::1", "2a00:1450::1", "::ffff:8.8.8.8"}) {
    EXPECT_TRUE(is_public(address)) << address;
  }
  for (const char* address : {"0.0.0.0",
                              "10.1.2.3",
                              "100.64.0.1",
                              "127.0.0.1",
                              "127.8.8.8",
                              "169.254.169.254",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.0.2.1",
                              "192.168.1.1",
                              "198.18.0.1",
                              "224.0.0.1",
                              "255.255.255.255",
                              "::",
                              "::1",
                              "fe80::1",
                              "fc00::1",
                              "fd12::1",
                              "ff02::1",
                              "2001:db8::1",
                              "2002:7f00:1::",
                              "64:ff9b::7f00:1",
                              "::ffff:127.0.0.1",
                              "::ffff:10.0.0.1",
                              "::127.0.0.1"}) {
    EXPECT_FALSE(is_public(address)) << address;
  }
}

}  // namespace
}  // namespace tutti
