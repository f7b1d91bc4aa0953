/* my-agent: posts the text of each message to a web address, once for each recipient. */
#include "postern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 64 << 10 };

/* Where to post: the setting `url`, which the connector must grant. */
static char url[1024];

void exports_postern_delivery_agent_agent_describe(postern_description *ret) {
  memset(ret, 0, sizeof *ret);
  delivery_agent_string_dup(&ret->name, "my-agent");
  delivery_agent_string_dup(&ret->version, "0.1.0");
  delivery_agent_string_dup(&ret->protocol, "HTTP");
}

bool exports_postern_delivery_agent_agent_open_connection(postern_next_hop *hop, postern_string *label,
                                                          postern_refusal *refusal) {
  postern_delivery_agent_types_next_hop_free(hop);
  if (!postern_setting("url", url, sizeof url) || !url[0]) {
    *refusal = postern_not_now("the setting `url` is missing", "");
    return false;
  }
  delivery_agent_string_dup(label, url);
  return true;
}

/* What an answer means for the recipient. */
static postern_outcome outcome(const postern_answer *answer) {
  char text[32];
  snprintf(text, sizeof text, "HTTP status %u", answer->status);
  if (answer->status >= 200 && answer->status < 300) return postern_delivered(text);
  if (answer->status == 429) {
    uint32_t seconds = 0;
    for (size_t i = 0; i < answer->headers.len; i++) {
      const delivery_agent_tuple2_string_string_t *header = &answer->headers.ptr[i];
      if (header->f0.len != 11 || strncasecmp((const char *)header->f0.ptr, "retry-after", 11)) continue;
      char value[16];
      snprintf(value, sizeof value, "%.*s", (int)header->f1.len, (const char *)header->f1.ptr);
      seconds = (uint32_t)strtoul(value, NULL, 10);
    }
    return postern_deferred(text, "throttled", seconds);
  }
  if (answer->status >= 400 && answer->status < 500) return postern_failed(text, "content-rejected");
  return postern_deferred(text, "service-unavailable", 0);
}

static postern_outcome post(const postern_recipient *recipient, const postern_string *text) {
  postern_request request = postern_http_request("POST", url);
  postern_http_header(&request, "Content-Type", postern_text("text/plain; charset=utf-8"));
  postern_http_header(&request, "Idempotency-Key", recipient->idempotency_key);
  postern_http_header(&request, "X-Recipient", recipient->address);
  delivery_agent_string_dup_n((postern_string *)&request.body, (const char *)text->ptr, text->len);
  postern_answer answer;
  postern_http_fault fault;
  if (!postern_http_send(&request, &answer, &fault)) {
    bool late = fault.tag == POSTERN_DELIVERY_AGENT_HTTP_FAULT_TIMEOUT;
    bool denied = fault.tag == POSTERN_DELIVERY_AGENT_HTTP_FAULT_DENIED;
    postern_delivery_agent_http_fault_free(&fault);
    if (late) return postern_deferred("no answer in time", "timeout", 0);
    return postern_deferred(denied ? "not granted" : "no connection", "service-unavailable", 0);
  }
  postern_outcome made = outcome(&answer);
  postern_delivery_agent_http_response_free(&answer);
  return made;
}

bool exports_postern_delivery_agent_agent_deliver(exports_postern_delivery_agent_agent_own_item_t own,
                                                  postern_report *report, postern_string *error) {
  postern_item item = postern_delivery_agent_mail_borrow_item(own);
  delivery_agent_option_string_t text;
  if (!postern_delivery_agent_mail_method_item_text(item, MAX_TEXT, &text, error)) {
    postern_delivery_agent_mail_item_drop_own(own);
    return false;
  }
  postern_recipients recipients;
  postern_delivery_agent_mail_method_item_recipients(item, &recipients);
  postern_report_for(report, recipients.len);
  for (size_t i = 0; i < recipients.len; i++) {
    postern_outcome made = text.is_some ? post(&recipients.ptr[i], &text.val)
                                        : postern_failed("there is no text in it", "content-rejected");
    postern_report_set(report, i, recipients.ptr[i].index, made);
  }
  postern_delivery_agent_mail_list_recipient_free(&recipients);
  delivery_agent_option_string_free(&text);
  postern_delivery_agent_mail_item_drop_own(own);
  return true;
}

bool exports_postern_delivery_agent_agent_close_connection(postern_string *error) {
  (void)error;
  return true;
}
