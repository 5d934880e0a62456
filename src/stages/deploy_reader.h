// DeployReader: one YAML document to settings, checked against the schema. Used by
// stages/deploy_config.h alone, which is what others include.
//
// Thread: one. Errors: the first one, with place, path, what was found and what is allowed.
#pragma once

#include <yaml-cpp/yaml.h>

#include <string>

#include "stages/deploy_config.h"
#include "stages/deploy_schema.h"

namespace tutti {

class DeployReader {
 public:
  // source: what messages and origins call the document, or empty; with lines for files.
  DeployReader(std::string source, bool has_lines, const DeployTarget& target)
      : source_(std::move(source)), has_lines_(has_lines), target_(target) {}

  // A whole file. `base`: its base_config, or empty. `platform` takes the platform's section.
  Status read_document(const YAML::Node& root, DeployConfig& plain, DeployConfig& platform,
                       std::string& base) const;
  // Keys of one stage. `has_id`: its stage_id stands beside them, and has been read.
  Status read_stage_keys(const YAML::Node& map, const std::string& path, Settings& out,
                         bool has_id = false) const;

  // "deploy.yaml:12:5", or the source alone.
  std::string place(const YAML::Mark& mark) const;
  // An error at a node: "PLACE: SENTENCE", or the sentence alone where the source has no name.
  Status fail(const YAML::Node& node, const std::string& sentence) const;

 private:
  struct Entry {
    YAML::Node key_node;
    YAML::Node value;
    std::string name;
    std::string path;
  };
  Result<std::vector<Entry>> entries(const YAML::Node& map, const std::string& path) const;
  Status read_top(const YAML::Node& map, const std::string& path, DeployConfig& out,
                  DeployConfig* platform, std::string* base) const;
  Status read_stages(const YAML::Node& list, const std::string& path, DeployConfig& out) const;
  Status read_platforms(const YAML::Node& map, DeployConfig& out) const;
  // Finds the key of an entry, or says why there is none.
  Result<const DeployKey*> find_key(const Entry& entry, uint8_t where) const;
  Status read_setting(const Entry& entry, uint8_t where, const std::string& prefix,
                      Settings& out) const;
  Result<std::string> read_value(const DeployKey& key, const Entry& entry) const;
  Result<std::string> read_scalar(const DeployKey& key, const Entry& entry) const;
  Result<std::string> read_list(const DeployKey& key, const Entry& entry) const;
  Status read_connectors(const Entry& entry, Settings& out) const;
  Status read_edges(const DeployKey& key, const Entry& entry, Settings& out) const;
  std::string origin(const YAML::Mark& mark) const;
  Status not_allowed(const DeployKey& key, const Entry& entry) const;

  std::string source_;
  bool has_lines_;
  const DeployTarget& target_;
};

}  // namespace tutti
