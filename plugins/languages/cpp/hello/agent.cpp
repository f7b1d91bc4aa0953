// my-agent: logs each message, and says that it delivered it.
#include "postern.h"

#include <cstdio>
#include <string>

static std::string text(const postern_string &s) { return {reinterpret_cast<const char *>(s.ptr), s.len}; }

extern "C" void exports_postern_delivery_agent_agent_describe(postern_description *ret) {
  *ret = {};
  delivery_agent_string_dup(&ret->name, "my-agent");
  delivery_agent_string_dup(&ret->version, "0.1.0");
  delivery_agent_string_dup(&ret->protocol, "HELLO");
}

extern "C" bool exports_postern_delivery_agent_agent_open_connection(postern_next_hop *hop, postern_string *label,
                                                                     postern_refusal *) {
  char greeting[64];
  if (!postern_setting("greeting", greeting, sizeof greeting)) std::snprintf(greeting, sizeof greeting, "hello");
  std::string destination = text(hop->destination);
  postern_delivery_agent_types_next_hop_free(hop);
  postern_log_info("%s, %s", greeting, destination.c_str());
  delivery_agent_string_dup(label, destination.c_str());
  return true;
}

extern "C" bool exports_postern_delivery_agent_agent_deliver(exports_postern_delivery_agent_agent_own_item_t own,
                                                             postern_report *report, postern_string *) {
  postern_item item = postern_delivery_agent_mail_borrow_item(own);
  postern_envelope envelope;
  postern_delivery_agent_mail_method_item_envelope(item, &envelope);
  postern_log_info("%u bytes from <%s>", static_cast<unsigned>(envelope.size), text(envelope.reverse_path).c_str());
  postern_delivery_agent_mail_envelope_free(&envelope);

  postern_recipients recipients;
  postern_delivery_agent_mail_method_item_recipients(item, &recipients);
  postern_report_for(report, recipients.len);
  for (size_t i = 0; i < recipients.len; i++) {
    std::string greeted = "greeted " + text(recipients.ptr[i].address);
    postern_report_set(report, i, recipients.ptr[i].index, postern_delivered(greeted.c_str()));
  }
  postern_delivery_agent_mail_list_recipient_free(&recipients);
  postern_delivery_agent_mail_item_drop_own(own);
  return true;
}

extern "C" bool exports_postern_delivery_agent_agent_close_connection(postern_string *) { return true; }
