// my-agent: posts the text of each message to a web address, once for each recipient.
#include "postern.h"

#include <cstdlib>
#include <string>
#include <strings.h>

static constexpr uint32_t max_text = 64 << 10;

// Where to post: the setting `url`, which the connector must grant.
static char url[1024];

static std::string text_of(const postern_string &s) { return {reinterpret_cast<const char *>(s.ptr), s.len}; }

extern "C" void exports_postern_delivery_agent_agent_describe(postern_description *ret) {
  *ret = {};
  delivery_agent_string_dup(&ret->name, "my-agent");
  delivery_agent_string_dup(&ret->version, "0.1.0");
  delivery_agent_string_dup(&ret->protocol, "HTTP");
}

extern "C" bool exports_postern_delivery_agent_agent_open_connection(postern_next_hop *hop, postern_string *label,
                                                                     postern_refusal *refusal) {
  postern_delivery_agent_types_next_hop_free(hop);
  if (!postern_setting("url", url, sizeof url) || !url[0]) {
    *refusal = postern_not_now("the setting `url` is missing", "");
    return false;
  }
  delivery_agent_string_dup(label, url);
  return true;
}

// What an answer means for the recipient.
static postern_outcome outcome(const postern_answer &answer) {
  std::string text = "HTTP status " + std::to_string(answer.status);
  if (answer.status >= 200 && answer.status < 300) return postern_delivered(text.c_str());
  if (answer.status == 429) {
    uint32_t seconds = 0;
    for (size_t i = 0; i < answer.headers.len; i++) {
      std::string name = text_of(answer.headers.ptr[i].f0), value = text_of(answer.headers.ptr[i].f1);
      if (!strcasecmp(name.c_str(), "retry-after")) seconds = static_cast<uint32_t>(strtoul(value.c_str(), nullptr, 10));
    }
    return postern_deferred(text.c_str(), "throttled", seconds);
  }
  if (answer.status >= 400 && answer.status < 500) return postern_failed(text.c_str(), "content-rejected");
  return postern_deferred(text.c_str(), "service-unavailable", 0);
}

static postern_outcome post(const postern_recipient &recipient, const postern_string &text) {
  postern_request request = postern_http_request("POST", url);
  postern_http_header(&request, "Content-Type", postern_text("text/plain; charset=utf-8"));
  postern_http_header(&request, "Idempotency-Key", recipient.idempotency_key);
  postern_http_header(&request, "X-Recipient", recipient.address);
  postern_string body;
  delivery_agent_string_dup_n(&body, reinterpret_cast<const char *>(text.ptr), text.len);
  request.body = {body.ptr, body.len};
  postern_answer answer;
  postern_http_fault fault;
  if (!postern_http_send(&request, &answer, &fault)) {
    auto tag = fault.tag;
    postern_delivery_agent_http_fault_free(&fault);
    if (tag == POSTERN_DELIVERY_AGENT_HTTP_FAULT_TIMEOUT) return postern_deferred("no answer in time", "timeout", 0);
    bool denied = tag == POSTERN_DELIVERY_AGENT_HTTP_FAULT_DENIED;
    return postern_deferred(denied ? "not granted" : "no connection", "service-unavailable", 0);
  }
  postern_outcome made = outcome(answer);
  postern_delivery_agent_http_response_free(&answer);
  return made;
}

extern "C" bool exports_postern_delivery_agent_agent_deliver(exports_postern_delivery_agent_agent_own_item_t own,
                                                             postern_report *report, postern_string *error) {
  postern_item item = postern_delivery_agent_mail_borrow_item(own);
  delivery_agent_option_string_t text;
  if (!postern_delivery_agent_mail_method_item_text(item, max_text, &text, error)) {
    postern_delivery_agent_mail_item_drop_own(own);
    return false;
  }
  postern_recipients recipients;
  postern_delivery_agent_mail_method_item_recipients(item, &recipients);
  postern_report_for(report, recipients.len);
  for (size_t i = 0; i < recipients.len; i++) {
    postern_outcome made = text.is_some ? post(recipients.ptr[i], text.val)
                                        : postern_failed("there is no text in it", "content-rejected");
    postern_report_set(report, i, recipients.ptr[i].index, made);
  }
  postern_delivery_agent_mail_list_recipient_free(&recipients);
  delivery_agent_option_string_free(&text);
  postern_delivery_agent_mail_item_drop_own(own);
  return true;
}

extern "C" bool exports_postern_delivery_agent_agent_close_connection(postern_string *) { return true; }
