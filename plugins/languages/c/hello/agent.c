/* my-agent: logs each message, and says that it delivered it. */
#include "postern.h"

#include <stdio.h>
#include <string.h>

void exports_postern_delivery_agent_agent_describe(postern_description *ret) {
  memset(ret, 0, sizeof *ret);
  delivery_agent_string_dup(&ret->name, "my-agent");
  delivery_agent_string_dup(&ret->version, "0.1.0");
  delivery_agent_string_dup(&ret->protocol, "HELLO");
}

bool exports_postern_delivery_agent_agent_open_connection(postern_next_hop *hop, postern_string *label,
                                                          postern_refusal *refusal) {
  (void)refusal;
  char greeting[64];
  if (!postern_setting("greeting", greeting, sizeof greeting)) strcpy(greeting, "hello");
  postern_log_info("%s, %.*s", greeting, (int)hop->destination.len, (const char *)hop->destination.ptr);
  delivery_agent_string_dup_n(label, (const char *)hop->destination.ptr, hop->destination.len);
  postern_delivery_agent_types_next_hop_free(hop);
  return true;
}

bool exports_postern_delivery_agent_agent_deliver(exports_postern_delivery_agent_agent_own_item_t own,
                                                  postern_report *report, postern_string *error) {
  (void)error;
  postern_item item = postern_delivery_agent_mail_borrow_item(own);
  postern_envelope envelope;
  postern_delivery_agent_mail_method_item_envelope(item, &envelope);
  postern_log_info("%u bytes from <%.*s>", (unsigned)envelope.size, (int)envelope.reverse_path.len,
                   (const char *)envelope.reverse_path.ptr);
  postern_delivery_agent_mail_envelope_free(&envelope);

  postern_recipients recipients;
  postern_delivery_agent_mail_method_item_recipients(item, &recipients);
  postern_report_for(report, recipients.len);
  for (size_t i = 0; i < recipients.len; i++) {
    const postern_recipient *recipient = &recipients.ptr[i];
    char text[400];
    snprintf(text, sizeof text, "greeted %.*s", (int)recipient->address.len, (const char *)recipient->address.ptr);
    postern_report_set(report, i, recipient->index, postern_delivered(text));
  }
  postern_delivery_agent_mail_list_recipient_free(&recipients);
  postern_delivery_agent_mail_item_drop_own(own);
  return true;
}

bool exports_postern_delivery_agent_agent_close_connection(postern_string *error) {
  (void)error;
  return true;
}
