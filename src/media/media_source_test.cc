// Where media may come from: what each kind of source needs, and what it may not reach.
#include "media/media_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "media/http_server_test_util.h"
#include "media/media_file.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// open/ with a file, a link to it, a link to a file outside and a folder; closed/ with a file.
class MediaSource : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::canonical(fs::temp_directory_path()) /
            ("tutti_source_" + std::to_string(getpid()) + "_" +
             ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(root_ / "open/sub");
    fs::create_directories(root_ / "closed");
    fs::create_directories(root_ / "open side");
    std::ofstream(root_ / "open/a b.png") << "inside";
    std::ofstream(root_ / "closed/secret.png") << "secret";
    std::ofstream(root_ / "open side/secret.png") << "secret";
    fs::create_symlink(root_ / "open/a b.png", root_ / "open/sub/link.png");
    fs::create_symlink("../closed/secret.png", root_ / "open/leak.png");
    fs::create_directory_symlink("../closed", root_ / "open/leak");
    sources_.directory = (root_ / "open").string();
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string read(const std::string& from, bool trusted = false) {
    MediaItem item;
    item.path_or_url = from;
    item.trusted_path = trusted;
    const auto bytes = read_media_source(item, 1000, sources_);
    if (!bytes.ok()) return "error: " + bytes.error().message();
    return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  }
  std::string file(const std::string& path) { return read("file://" + root_.string() + path); }

  fs::path root_;
  MediaSources sources_;
};

TEST_F(MediaSource, FilesBelowTheDirectory) {
  EXPECT_EQ(file("/open/a%20b.png"), "inside");
  EXPECT_EQ(file("/open/sub/../a%20b.png"), "inside");
  EXPECT_EQ(file("/open/sub/link.png"), "inside") << "the link leads inside";
  EXPECT_EQ(read("FILE://localhost" + root_.string() + "/open/a%20b.png?x#y"), "inside");
  sources_.directory = (root_ / "open/sub/..").string() + "/";
  EXPECT_EQ(file("/open/a%20b.png"), "inside");
  EXPECT_THAT(file("/open/none.png"), HasSubstr("No such file"));
  EXPECT_THAT(file("/open/sub"), HasSubstr("is no regular file"));
}

TEST_F(MediaSource, NothingOutsideTheDirectory) {
  const std::string refused = "not below the path that the operator allows";
  for (const char* path :
       {"/closed/secret.png", "/open/../closed/secret.png", "/open/%2e%2e/closed/secret.png",
        "/open/leak.png", "/open/leak/secret.png", "/open%20side/secret.png", "/open", "/open/.",
        "/closed/none.png", "/open/leak/none.png", "/../../../etc/passwd", "//etc/passwd"}) {
    EXPECT_THAT(file(path), HasSubstr(refused)) << path;
  }
  EXPECT_THAT(read("file:////etc/passwd"), HasSubstr(refused));
  EXPECT_THAT(read("file:///proc/self/cwd"), HasSubstr(refused));
  sources_.directory.clear();
  EXPECT_THAT(file("/open/a%20b.png"), HasSubstr("off unless the operator allows a path"));
  sources_.directory = (root_ / "gone").string();
  EXPECT_THAT(file("/open/a%20b.png"), HasSubstr(refused));
}

TEST_F(MediaSource, FileUrlsThatAreNone) {
  for (const char* url : {"file://", "file://etc/passwd", "file://host/etc/passwd", "file:///a%00b",
                          "file:///a%2", "file:///a%zz"}) {
    EXPECT_THAT(read(url), HasSubstr("the URL is no 'file:///PATH'")) << url;
  }
}

// What is opened may be another file than the one that was looked at.
TEST_F(MediaSource, TheOpenedFileIsLookedAtAgain) {
  const std::string leak = (root_ / "open/leak.png").string();
  std::string seen;
  const auto bytes = read_media_file(leak, 1000, [&](const std::string& real_path) {
    seen = real_path;
    return false;
  });
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(seen, (root_ / "closed/secret.png").string());
  EXPECT_THAT(bytes.error().message(), HasSubstr("leads to a path that is not allowed"));
}

TEST_F(MediaSource, PathsMustBeVouchedFor) {
  const std::string path = (root_ / "closed/secret.png").string();
  EXPECT_EQ(read(path, true), "secret");
  EXPECT_THAT(read(path), HasSubstr("is a path, not a URL; allowed are data:"));
  EXPECT_THAT(read("../" + path), HasSubstr("is a path"));
  EXPECT_LT(read(std::string(100'000, 'A')).size(), 500u);
  EXPECT_THAT(read("", true), HasSubstr("neither a path, a URL nor bytes"));
}

TEST_F(MediaSource, UrlsByTheirScheme) {
  const testing::HttpServer server(testing::http_ok("fetched"));
  EXPECT_EQ(read("data:;base64,aGVsbG8="), "hello");
  EXPECT_THAT(read(server.url()), HasSubstr("URLs are off unless the operator allows domains"));
  sources_.urls.allowed_domains = {"127.0.0.1"};
  EXPECT_THAT(read(server.url()), HasSubstr("not in the public network"));
  EXPECT_EQ(server.connections(), 0);
  sources_.urls.allowed_address = [](const IpAddress&) { return true; };
  EXPECT_EQ(read(server.url()), "fetched");
  EXPECT_THAT(read("ftp://example.org/a", true), HasSubstr("scheme 'ftp'; allowed are data, http"));
}

TEST_F(MediaSource, OptionsAreChecked) {
  EXPECT_TRUE(check_media_sources({}, "").ok());
  EXPECT_TRUE(check_media_sources({"example.org", "127.0.0.1"}, root_.string()).ok());
  for (const char* wrong : {"", "https://example.org", "example.org/a", "a b", "example.org:80"}) {
    const Status status = check_media_sources({"example.org", wrong}, "");
    EXPECT_THAT(status.message(), HasSubstr(std::string("has '") + wrong + "'"));
    EXPECT_EQ(status.param(), "allowed_media_domains");
  }
  const Status status = check_media_sources({}, (root_ / "open/a b.png").string());
  EXPECT_THAT(status.message(), HasSubstr("must be a directory that exists"));
  EXPECT_EQ(status.param(), "allowed_media_path");
}

}  // namespace
}  // namespace tutti
