-- What an e-mail looks like when a notification names no template and none bears its event type.
INSERT INTO notify.templates (name, channel, subject, body_text, body_html) VALUES ('default', 'email',
'{{ payload.title or event_type }}',
'{{ payload.body or payload.title or event_type }}
{% if payload.url %}
{{ payload.url }}
{% endif %}',
'<!doctype html>
<html>
<body style="margin:0;padding:24px;background:#f4f5f7;font-family:system-ui,sans-serif;color:#1c2330">
<div style="max-width:520px;margin:0 auto;padding:28px;background:#fff;border-radius:10px">
<h1 style="margin:0 0 12px;font-size:20px">{{ payload.title or event_type }}</h1>
<p style="margin:0;line-height:1.5">{{ payload.body or "" }}</p>
{% if payload.url %}<p style="margin:20px 0 0"><a href="{{ payload.url }}" style="color:#2f5bea">{{ payload.url }}</a></p>{% endif %}
</div>
</body>
</html>');
