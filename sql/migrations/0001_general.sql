-- An empty database starts with one public topic.
WITH topic AS (
    INSERT INTO recado.topics (name, kind, creator) VALUES ('general', 'public', 'recado') RETURNING id
)
INSERT INTO recado.heads (topic_id) SELECT id FROM topic;
