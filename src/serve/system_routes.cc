#include "serve/system_routes.h"

#include <fmt/format.h>

#include "serve/api_error.h"
#include "serve/fields.h"
#include "serve/tokenize.h"

namespace tutti::serve {

namespace json = boost::json;

namespace {

constexpr double kControlTimeout_s = 120;

void send_json(const HttpReplyPtr& reply, const json::value& body, int status = 200) {
  reply->send({.status = status,
               .content_type = "application/json",
               .body = json::serialize(body),
               .headers = {}});
}

json::object model_json(const ModelInfo& model, const std::string& name) {
  json::array modalities;
  for (const std::string& task : model.engine().supported_tasks()) modalities.emplace_back(task);
  return {{"id", name},
          {"object", "model"},
          {"created", model.created()},
          {"owned_by", "tutti"},
          {"root", model.engine().model()},
          {"tasks", std::move(modalities)}};
}

json::object adapter_json(const ModelInfo& model, const LoraRequest& adapter) {
  return {{"id", adapter.lora_name}, {"object", "model"},         {"created", model.created()},
          {"owned_by", "tutti"},     {"root", adapter.lora_path}, {"parent", model.name()}};
}

void handle_models(const Services& s, HttpRequest, HttpReplyPtr reply) {
  json::array data;
  for (const std::string& name : s.model.names()) data.push_back(model_json(s.model, name));
  for (const LoraRequest& adapter : s.model.adapters().all())
    data.push_back(adapter_json(s.model, adapter));
  send_json(reply, {{"object", "list"}, {"data", std::move(data)}});
}

void handle_model(const Services& s, HttpRequest request, HttpReplyPtr reply) {
  const std::string& name = request.path_params[0];
  const Status known = s.model.check_model(name);
  if (!known.ok()) return reply->send(error_response(known));
  const auto adapter = s.model.adapter(name);
  send_json(reply, adapter ? adapter_json(s.model, *adapter) : model_json(s.model, name));
}

// sleeping, paused: as asked for; else ready: all replicas; degraded: some; dead: none.
std::string_view pool_status(const StagePoolInfo& pool) {
  const auto ready = std::count_if(pool.replicas.begin(), pool.replicas.end(),
                                   [](const ReplicaInfo& r) { return r.state == "ready"; });
  if (ready == 0) return "dead";
  if (pool.sleep_level > 0) return "sleeping";
  if (pool.paused) return "paused";
  return ready == static_cast<int64_t>(pool.replicas.size()) ? "ready" : "degraded";
}

void handle_health(const Services& s, HttpRequest, HttpReplyPtr reply) {
  const AsyncOmniEngine& engine = s.model.engine();
  const bool alive = engine.is_alive();
  // The same of all stages, or degraded.
  std::string_view common;
  json::array stages;
  for (const StagePoolInfo& pool : engine.stage_pools()) {
    const std::string_view status = pool_status(pool);
    if (common.empty()) common = status;
    if (common != status) common = "degraded";
    json::array replicas;
    for (const ReplicaInfo& replica : pool.replicas) {
      replicas.push_back(
          json::object{{"replica_id", replica.replica_id}, {"state", replica.state}});
    }
    stages.push_back(
        json::object{{"stage_id", pool.stage_id},
                     {"model_stage", engine.stage_metadata()[pool.stage_id].model_stage},
                     {"status", status},
                     {"replicas", std::move(replicas)}});
  }
  const std::string_view status = alive ? common : "dead";
  send_json(reply, {{"status", status}, {"stages", std::move(stages)}}, alive ? 200 : 503);
}

void handle_metrics(const Services& s, HttpRequest, HttpReplyPtr reply) {
  reply->send({.status = 200,
               .content_type = "text/plain; version=0.0.4; charset=utf-8",
               .body = s.metrics.text(),
               .headers = {}});
}

using Done = std::function<void(const json::object& kwargs)>;  // every replica has done it
// Of arguments that are whole, before any replica sees them; may change them.
using Check = std::function<Status(json::object& kwargs)>;

// Runs a control method and answers with what every replica said; the first error fails the call.
void control(const Services& s, std::string method, json::object kwargs,
             std::vector<int32_t> stage_ids, Done done, HttpReplyPtr reply) {
  const std::string given = kwargs.empty() ? "" : json::serialize(kwargs);
  s.model.engine().collective_rpc_async(
      std::move(method), kControlTimeout_s, "", given, std::move(stage_ids),
      [reply, kwargs = std::move(kwargs),
       done = std::move(done)](Result<std::vector<RpcResult>> results) {
        if (!results) return reply->send(error_response(results.error()));
        json::array out;
        for (const RpcResult& r : *results) {
          if (!r.status.ok()) return reply->send(error_response(r.status));
          boost::system::error_code bad;
          json::value value = json::parse(r.result_json, bad);
          out.push_back(json::object{{"stage_id", r.stage_id},
                                     {"replica_id", r.replica_id},
                                     {"result", bad ? json::value(nullptr) : std::move(value)}});
        }
        if (done) done(kwargs);
        send_json(reply, json::object{{"results", std::move(out)}});
      });
}

struct ControlField {
  const char* name;
  enum class Kind : uint8_t { kString, kInteger, kBoolean } kind;
  bool required;
};

const char* kind_name(ControlField::Kind kind) {
  switch (kind) {
    case ControlField::Kind::kString:
      return "a string";
    case ControlField::Kind::kInteger:
      return "an integer";
    case ControlField::Kind::kBoolean:
      break;
  }
  return "true or false";
}

// The body's fields as the method's keyword arguments.
HttpHandler control_handler(const Services& s, std::string method, std::vector<ControlField> known,
                            std::vector<int32_t> stage_ids = {}, Done done = nullptr,
                            Check check = nullptr) {
  return
      [&s, method = std::move(method), known = std::move(known), stage_ids = std::move(stage_ids),
       done = std::move(done), check = std::move(check)](HttpRequest http, HttpReplyPtr reply) {
        json::object kwargs;
        Status error;
        if (!http.body.empty()) {
          const Result<json::object> body = parse_json_body(http.header("content-type"), http.body);
          if (!body) return reply->send(error_response(body.error()));
          Fields fields(*body, "", &error);
          for (const ControlField& field : known) {
            switch (field.kind) {
              case ControlField::Kind::kString:
                if (auto value = fields.string(field.name)) kwargs[field.name] = *value;
                break;
              case ControlField::Kind::kInteger:
                if (auto value = fields.integer(field.name)) kwargs[field.name] = *value;
                break;
              case ControlField::Kind::kBoolean:
                if (auto value = fields.boolean(field.name)) kwargs[field.name] = *value;
                break;
            }
          }
          if (error.ok()) fields.finish();
        }
        for (const ControlField& field : known) {
          if (error.ok() && field.required && !kwargs.contains(field.name)) {
            error = invalid_argument(fmt::format("`{}` is missing; it must be {}.", field.name,
                                                 kind_name(field.kind)))
                        .with_param(field.name);
          }
        }
        if (error.ok() && check) error = check(kwargs);
        if (!error.ok()) return reply->send(error_response(error));
        control(s, method, std::move(kwargs), stage_ids, done, std::move(reply));
      };
}

void add_adapter_routes(Router& router, const Services& s) {
  using Kind = ControlField::Kind;
  Adapters& adapters = s.model.adapters();
  // The other stages have no maps that adapters could change.
  std::vector<int32_t> stages;
  for (int32_t stage = 0; stage < s.model.engine().num_stages(); ++stage) {
    if (s.model.engine().stage_metadata()[stage].stage_type == "llm") stages.push_back(stage);
  }
  const auto text = [](const json::object& kwargs, const char* name) {
    return std::string(kwargs.at(name).as_string());
  };
  router.add("POST", "/v1/load_lora_adapter",
             control_handler(
                 s, "add_lora",
                 {{"lora_name", Kind::kString, true}, {"lora_path", Kind::kString, true}}, stages,
                 [&adapters, text](const json::object& kwargs) {
                   adapters.add(text(kwargs, "lora_name"), text(kwargs, "lora_path"));
                 },
                 [&adapters, text](json::object& kwargs) -> Status {
                   TUTTI_ASSIGN_OR_RETURN(kwargs["lora_path"],
                                          adapters.check_path(text(kwargs, "lora_path")));
                   return {};
                 }));
  router.add("POST", "/v1/unload_lora_adapter",
             control_handler(s, "remove_lora", {{"lora_name", Kind::kString, true}}, stages,
                             [&adapters, text](const json::object& kwargs) {
                               adapters.remove(text(kwargs, "lora_name"));
                             }));
}

}  // namespace

void add_system_routes(Router& router, const Services& s) {
  using Access = Router::Access;
  using Kind = ControlField::Kind;
  const auto add = [&](const char* method, const char* path, auto handler,
                       Access access = Access::kKey) {
    router.add(
        method, path,
        [&s, handler](HttpRequest http, HttpReplyPtr reply) {
          handler(s, std::move(http), std::move(reply));
        },
        access);
  };
  add("GET", "/v1/models", handle_models);
  add("GET", "/v1/models/{*}", handle_model);  // names may have slashes
  add("GET", "/health", handle_health, Access::kOpen);
  add("GET", "/metrics", handle_metrics, Access::kOpen);
  add("POST", "/tokenize", handle_tokenize);
  add("POST", "/detokenize", handle_detokenize);
  router.add(
      "GET", "/version",
      [](HttpRequest, HttpReplyPtr reply) {
        send_json(reply, json::object{{"version", TUTTI_VERSION}});
      },
      Access::kOpen);
  add_adapter_routes(router, s);
  router.add("POST", "/v1/omni/sleep",
             control_handler(s, "sleep", {{"level", Kind::kInteger, false}}));
  router.add("POST", "/v1/omni/wakeup", control_handler(s, "wake_up", {}));
  router.add("POST", "/start_profile", control_handler(s, "start_profile", {}));
  router.add("POST", "/stop_profile", control_handler(s, "stop_profile", {}));
}

}  // namespace tutti::serve
