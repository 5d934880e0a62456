// openapi.json against the router: what is described is there, and what is there is described.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <regex>
#include <set>

#include "base/strings.h"
#include "serve/assets.h"
#include "serve/server.h"

namespace tutti::serve {
namespace {

namespace json = boost::json;

json::object description() {
  for (const Asset& asset : embedded_assets()) {
    if (asset.path == "openapi.json") return json::parse(asset.bytes).as_object();
  }
  return {};
}

// "GET /v1/models/{}": the names of parameters are the description's alone.
std::string without_names(const std::string& route) {
  return std::regex_replace(route, std::regex(R"(\{[^}]*\})"), "{}");
}

std::set<std::string> described_routes() {
  const json::object document = description();
  std::set<std::string> out;
  for (const auto& path : document.at("paths").as_object()) {
    for (const auto& method : path.value().as_object()) {
      std::string name(method.key());
      for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      out.insert(without_names(name + " " + std::string(path.key())));
    }
  }
  return out;
}

// Every "$ref" below `value`.
void collect_references(const json::value& value, std::set<std::string>& out) {
  if (const auto* object = value.if_object()) {
    for (const auto& member : *object) {
      if (member.key() == "$ref") out.insert(std::string(member.value().as_string()));
      collect_references(member.value(), out);
    }
  } else if (const auto* array = value.if_array()) {
    for (const json::value& element : *array) collect_references(element, out);
  }
}

TEST(OpenApiTest, DescribesEveryRouteAndNothingElse) {
  auto engine = AsyncOmniEngine::create(TUTTI_SOURCE_DIR "/models/nano");
  ASSERT_TRUE(engine.ok()) << engine.error().message();
  ServerOptions options;
  options.playground = false;
  options.http.port = 0;
  auto server = OpenAiServer::start(**engine, options);
  ASSERT_TRUE(server.ok()) << server.error().message();
  std::set<std::string> served;
  for (const std::string& route : (*server)->routes()) served.insert(without_names(route));
  (*server)->stop(0);
  EXPECT_GT(served.size(), 20u);
  EXPECT_EQ(served, described_routes());
}

TEST(OpenApiTest, RefersToSchemasThatAreThere) {
  const json::object document = description();
  std::set<std::string> references;
  collect_references(document, references);
  EXPECT_GT(references.size(), 5u);
  for (const std::string& reference : references) {
    EXPECT_THAT(reference, ::testing::StartsWith("#/components/schemas/"));
    const std::string name = reference.substr(reference.rfind('/') + 1);
    EXPECT_TRUE(document.at("components").at("schemas").as_object().contains(name)) << reference;
  }
}

}  // namespace
}  // namespace tutti::serve
