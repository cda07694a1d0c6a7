BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'ablation-toy-quick-95098693');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'artifacts:31b6ba1e-6784-4b6d-b1f7-e9093720c881','"{\"artifact_id\": \"31b6ba1e-6784-4b6d-b1f7-e9093720c881\", \"filename\": \"queries.parquet\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "study_system_attributes" VALUES(2,1,'study:metric_names','["validation MRR"]');
INSERT INTO "study_system_attributes" VALUES(3,1,'dashboard:note_ver','1');
INSERT INTO "study_system_attributes" VALUES(4,1,'dashboard:note_str:0','"# What each distillation loss adds\n\nThe student is trained without distillation, with the structural teacher alone (L1), with the language model''s scores (L2) or encodings (L3) in addition, and with all three. All arms of a seed share initialisation, batches and the number of updates; the distilled ones share stage 1. Both teachers are reference rows.\n\n- data: `toy`, 60 training facts, 10 validation facts, 10 test facts, 12 entities, 3 relations\n- claims tested: C2, C6\n- preset: `quick`, one seed, short training, a sentence encoder as language model; minutes\n- arms: `none`, `L1`, `L1+L2`, `L1+L3`, `L1+L2+L3`\n- reference rows: `teacher`, `llm-teacher`\n\nThe value of a trial is its validation MRR. Its attribute `label` is the name that reports have for it, `test_mrr` and\nthe like are its metrics on test facts, `reason` says why it failed. Its artifacts are the ranks of all test queries\n(`ranks.parquet`), the learning curve (`curve.csv`) and metrics by relation (`relations.csv`). Teachers are marked as\ninfeasible, so that the history''s line is that of the students; the dashboard''s card of the best trial counts them all.\n\nIts report: `python -m harness.report ablation --dataset toy --storage URL`\n"');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'study','"ablation"');
INSERT INTO "study_user_attributes" VALUES(2,1,'dataset','"toy"');
INSERT INTO "study_user_attributes" VALUES(3,1,'preset','"quick"');
INSERT INTO "study_user_attributes" VALUES(4,1,'claims','["C2", "C6"]');
INSERT INTO "study_user_attributes" VALUES(5,1,'command','"python -m harness.study ablation --dataset toy --arms none,L1 --preset quick --seeds 1 --set student.epochs=2 --set student.stage1_epochs=1 --set teacher.epochs=1 --set teacher.dim=8 --jobs 1"');
INSERT INTO "study_user_attributes" VALUES(6,1,'data','{"training facts": 60, "validation facts": 10, "test facts": 10, "entities": 12, "relations": 3}');
INSERT INTO "study_user_attributes" VALUES(7,1,'schema','2');
INSERT INTO "study_user_attributes" VALUES(8,1,'engine','"b470ef9cfaf02b2ee4e9d5b8"');
INSERT INTO "study_user_attributes" VALUES(9,1,'data_digest','"75ac08d208ee78bb55c6ce3667333f2135855d68d40b7a214a8b79423dfada14"');
INSERT INTO "study_user_attributes" VALUES(10,1,'queries','"31b6ba1e-6784-4b6d-b1f7-e9093720c881"');
INSERT INTO "study_user_attributes" VALUES(11,1,'note','"2341981f6ff29f1241fa8997"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,2.50337301587301552796e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,2.30418470418470466842e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,2,1,2.80418470418470400229e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,2,2.597817460317460303e-01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'arm',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "L2+L3", "L1+FitNet", "L1+RKD-D", "L1+RKD-A", "teacher", "llm-teacher"]}}');
INSERT INTO "trial_params" VALUES(2,1,'backbone',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["ta-distmult", "ttranse"]}}');
INSERT INTO "trial_params" VALUES(3,1,'seed',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1000000}}');
INSERT INTO "trial_params" VALUES(4,1,'dim',25.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 10000}}');
INSERT INTO "trial_params" VALUES(5,2,'arm',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["none", "L1", "L1+L2", "L1+L3", "L1+L2+L3", "L2+L3", "L1+FitNet", "L1+RKD-D", "L1+RKD-A", "teacher", "llm-teacher"]}}');
INSERT INTO "trial_params" VALUES(6,2,'backbone',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["ta-distmult", "ttranse"]}}');
INSERT INTO "trial_params" VALUES(7,2,'seed',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 1000000}}');
INSERT INTO "trial_params" VALUES(8,2,'dim',25.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 10000}}');
INSERT INTO "trial_params" VALUES(9,2,'stage1_epochs',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 10000}}');
INSERT INTO "trial_params" VALUES(10,2,'hard_weight',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1000.0, "log": false}}');
INSERT INTO "trial_params" VALUES(11,2,'temperature',7.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 1000.0, "log": false}}');
INSERT INTO "trial_params" VALUES(12,2,'soft_weight',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1000.0, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'artifacts:5ae5ab52-b0ae-4e97-893f-3f86b8528e3f','"{\"artifact_id\": \"5ae5ab52-b0ae-4e97-893f-3f86b8528e3f\", \"filename\": \"curve.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(2,1,'artifacts:667e6dd9-a555-4917-aca6-a43317164707','"{\"artifact_id\": \"667e6dd9-a555-4917-aca6-a43317164707\", \"filename\": \"ranks.parquet\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(3,1,'artifacts:e7093e0e-c597-46ef-85bc-10ab7381cbe1','"{\"artifact_id\": \"e7093e0e-c597-46ef-85bc-10ab7381cbe1\", \"filename\": \"relations.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(4,2,'artifacts:ea4aa47e-8d11-4977-b400-08267aca582b','"{\"artifact_id\": \"ea4aa47e-8d11-4977-b400-08267aca582b\", \"filename\": \"curve.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(5,2,'artifacts:d7164214-6a67-4f90-bd1e-a4aad1cf15ae','"{\"artifact_id\": \"d7164214-6a67-4f90-bd1e-a4aad1cf15ae\", \"filename\": \"ranks.parquet\", \"mimetype\": \"application/octet-stream\", \"encoding\": null}"');
INSERT INTO "trial_system_attributes" VALUES(6,2,'artifacts:b5c25bfc-5886-4ca8-9114-e65f2ce70369','"{\"artifact_id\": \"b5c25bfc-5886-4ca8-9114-e65f2ce70369\", \"filename\": \"relations.csv\", \"mimetype\": \"text/csv\", \"encoding\": null}"');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'cell','"635611a1110f546cb53b"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'spec','"{\"dataset\":\"toy\",\"backbone\":\"ttranse\",\"arm\":\"none\",\"seed\":0,\"protocol\":\"time-aware\",\"time\":{\"classes\":\"frequency\",\"size\":600},\"student\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":25,\"norm\":\"l2\",\"epochs\":2,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"stage1_epochs\":1,\"order\":\"structure-first\"},\"loss\":{\"alpha\":3.0,\"beta\":0.3,\"delta\":1.0,\"temperature\":7.0,\"hard_weight\":1.0,\"soft_weight\":1.0,\"semantic_share\":0.25,\"targets\":128,\"others\":\"estimated\",\"alignment\":\"huber\",\"outliers\":0.0,\"outlier_size\":10.0,\"fusion\":0.0,\"fitnet\":1.0,\"rkd_distance\":25.0,\"rkd_angle\":50.0,\"relational_entities\":64},\"teacher\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":400,\"norm\":\"l2\",\"epochs\":12,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"backbone\":null,\"patience\":2,\"seed\":0},\"llm\":{\"model\":\"smollm2\",\"finetune\":\"lora\",\"objective\":null,\"token_budget\":40000,\"lora_rank\":8,\"lora_layers\":4,\"learning_rate\":0.0005,\"batch_tokens\":1024,\"max_length\":16,\"dtype\":null,\"seed\":0},\"semantic\":{\"candidates\":0,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"vectors\":\"model\",\"dim\":128,\"components\":256,\"epochs\":8,\"batch_size\":512,\"learning_rate\":0.003,\"patience\":2,\"seed\":0}}"');
INSERT INTO "trial_user_attributes" VALUES(3,1,'environment','{"harness": "0.1.0", "git_commit": "84dc6dc38985892861c2be1bf552025733f70dce", "git_dirty": false, "python": "3.11.7", "torch": "2.13.0+cpu", "transformers": "5.24.0", "peft": "0.21.2", "optuna": "5.0.0", "numpy": "2.4.6", "numba": "0.68.1", "machine": "Linux x86_64, AMD EPYC, 2 cores, 24 GiB", "device": "cpu", "number_format": "bfloat16", "threads": 1, "stack": 1}');
INSERT INTO "trial_user_attributes" VALUES(4,1,'started','"2026-11-26T09:47:18+00:00"');
INSERT INTO "trial_user_attributes" VALUES(5,1,'preset','"quick"');
INSERT INTO "trial_user_attributes" VALUES(6,1,'protocol','"time-aware"');
INSERT INTO "trial_user_attributes" VALUES(7,1,'label','"none"');
INSERT INTO "trial_user_attributes" VALUES(8,1,'valid_mrr','0.23041847041847047');
INSERT INTO "trial_user_attributes" VALUES(9,1,'valid_mr','6.5');
INSERT INTO "trial_user_attributes" VALUES(10,1,'valid_hits1','0.05');
INSERT INTO "trial_user_attributes" VALUES(11,1,'valid_hits3','0.2');
INSERT INTO "trial_user_attributes" VALUES(12,1,'valid_hits10','0.95');
INSERT INTO "trial_user_attributes" VALUES(13,1,'test_mrr','0.16420995670995672');
INSERT INTO "trial_user_attributes" VALUES(14,1,'test_mr','7.45');
INSERT INTO "trial_user_attributes" VALUES(15,1,'test_hits1','0.0');
INSERT INTO "trial_user_attributes" VALUES(16,1,'test_hits3','0.15');
INSERT INTO "trial_user_attributes" VALUES(17,1,'test_hits10','0.85');
INSERT INTO "trial_user_attributes" VALUES(18,1,'by_direction','{"valid_tail_mrr": 0.25877344877344877, "valid_tail_mr": 6.7, "valid_tail_hits1": 0.1, "valid_tail_hits3": 0.2, "valid_tail_hits10": 0.9, "valid_head_mrr": 0.20206349206349206, "valid_head_mr": 6.3, "valid_head_hits1": 0.0, "valid_head_hits3": 0.2, "valid_head_hits10": 1.0, "test_tail_mrr": 0.15226551226551227, "test_tail_mr": 8.0, "test_tail_hits1": 0.0, "test_tail_hits3": 0.1, "test_tail_hits10": 0.8, "test_head_mrr": 0.17615440115440115, "test_head_mr": 6.9, "test_head_hits1": 0.0, "test_head_hits3": 0.2, "test_head_hits10": 0.9}');
INSERT INTO "trial_user_attributes" VALUES(19,1,'seconds_data','0.0');
INSERT INTO "trial_user_attributes" VALUES(20,1,'seconds_stage2','0.013');
INSERT INTO "trial_user_attributes" VALUES(21,1,'seconds_evaluate','0.002');
INSERT INTO "trial_user_attributes" VALUES(22,1,'built_seconds_stage1','0.004');
INSERT INTO "trial_user_attributes" VALUES(23,1,'peak_mib_stage2','396.816');
INSERT INTO "trial_user_attributes" VALUES(24,1,'peak_mib_evaluate','396.816');
INSERT INTO "trial_user_attributes" VALUES(25,1,'data_digest','"75ac08d208ee78bb55c6ce3667333f2135855d68d40b7a214a8b79423dfada14"');
INSERT INTO "trial_user_attributes" VALUES(26,1,'updates','2');
INSERT INTO "trial_user_attributes" VALUES(27,1,'best_epoch','2');
INSERT INTO "trial_user_attributes" VALUES(28,2,'cell','"de2d0472e0095d0845eb"');
INSERT INTO "trial_user_attributes" VALUES(29,2,'spec','"{\"dataset\":\"toy\",\"backbone\":\"ttranse\",\"arm\":\"L1\",\"seed\":0,\"protocol\":\"time-aware\",\"time\":{\"classes\":\"frequency\",\"size\":600},\"student\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":25,\"norm\":\"l2\",\"epochs\":2,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"stage1_epochs\":1,\"order\":\"structure-first\"},\"loss\":{\"alpha\":3.0,\"beta\":0.3,\"delta\":1.0,\"temperature\":7.0,\"hard_weight\":1.0,\"soft_weight\":1.0,\"semantic_share\":0.25,\"targets\":128,\"others\":\"estimated\",\"alignment\":\"huber\",\"outliers\":0.0,\"outlier_size\":10.0,\"fusion\":0.0,\"fitnet\":1.0,\"rkd_distance\":25.0,\"rkd_angle\":50.0,\"relational_entities\":64},\"teacher\":{\"candidates\":256,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"dim\":8,\"norm\":\"l2\",\"epochs\":1,\"batch_size\":512,\"optimizer\":null,\"learning_rate\":null,\"regularization\":null,\"validate_every\":1,\"backbone\":null,\"patience\":2,\"seed\":0},\"llm\":{\"model\":\"smollm2\",\"finetune\":\"lora\",\"objective\":null,\"token_budget\":40000,\"lora_rank\":8,\"lora_layers\":4,\"learning_rate\":0.0005,\"batch_tokens\":1024,\"max_length\":16,\"dtype\":null,\"seed\":0},\"semantic\":{\"candidates\":0,\"hard_candidates\":64,\"hard_every\":4,\"exact_epochs\":1,\"vectors\":\"model\",\"dim\":128,\"components\":256,\"epochs\":8,\"batch_size\":512,\"learning_rate\":0.003,\"patience\":2,\"seed\":0}}"');
INSERT INTO "trial_user_attributes" VALUES(30,2,'environment','{"harness": "0.1.0", "git_commit": "84dc6dc38985892861c2be1bf552025733f70dce", "git_dirty": false, "python": "3.11.7", "torch": "2.13.0+cpu", "transformers": "5.24.0", "peft": "0.21.2", "optuna": "5.0.0", "numpy": "2.4.6", "numba": "0.68.1", "machine": "Linux x86_64, AMD EPYC, 2 cores, 24 GiB", "device": "cpu", "number_format": "bfloat16", "threads": 1, "stack": 1}');
INSERT INTO "trial_user_attributes" VALUES(31,2,'started','"2026-11-26T09:47:18+00:00"');
INSERT INTO "trial_user_attributes" VALUES(32,2,'preset','"quick"');
INSERT INTO "trial_user_attributes" VALUES(33,2,'protocol','"time-aware"');
INSERT INTO "trial_user_attributes" VALUES(34,2,'label','"L1"');
INSERT INTO "trial_user_attributes" VALUES(35,2,'valid_mrr','0.25978174603174603');
INSERT INTO "trial_user_attributes" VALUES(36,2,'valid_mr','6.15');
INSERT INTO "trial_user_attributes" VALUES(37,2,'valid_hits1','0.05');
INSERT INTO "trial_user_attributes" VALUES(38,2,'valid_hits3','0.4');
INSERT INTO "trial_user_attributes" VALUES(39,2,'valid_hits10','0.85');
INSERT INTO "trial_user_attributes" VALUES(40,2,'test_mrr','0.2227200577200578');
INSERT INTO "trial_user_attributes" VALUES(41,2,'test_mr','6.5');
INSERT INTO "trial_user_attributes" VALUES(42,2,'test_hits1','0.05');
INSERT INTO "trial_user_attributes" VALUES(43,2,'test_hits3','0.2');
INSERT INTO "trial_user_attributes" VALUES(44,2,'test_hits10','0.9');
INSERT INTO "trial_user_attributes" VALUES(45,2,'by_direction','{"valid_tail_mrr": 0.21027777777777779, "valid_tail_mr": 6.4, "valid_tail_hits1": 0.0, "valid_tail_hits3": 0.4, "valid_tail_hits10": 0.8, "valid_head_mrr": 0.3092857142857143, "valid_head_mr": 5.9, "valid_head_hits1": 0.1, "valid_head_hits3": 0.4, "valid_head_hits10": 0.9, "test_tail_mrr": 0.27845238095238095, "test_tail_mr": 5.8, "test_tail_hits1": 0.1, "test_tail_hits3": 0.3, "test_tail_hits10": 0.9, "test_head_mrr": 0.16698773448773446, "test_head_mr": 7.2, "test_head_hits1": 0.0, "test_head_hits3": 0.1, "test_head_hits10": 0.9}');
INSERT INTO "trial_user_attributes" VALUES(46,2,'seconds_data','0.0');
INSERT INTO "trial_user_attributes" VALUES(47,2,'seconds_stage2','0.008');
INSERT INTO "trial_user_attributes" VALUES(48,2,'seconds_evaluate','0.001');
INSERT INTO "trial_user_attributes" VALUES(49,2,'built_seconds_teacher','0.994');
INSERT INTO "trial_user_attributes" VALUES(50,2,'built_seconds_targets','0.003');
INSERT INTO "trial_user_attributes" VALUES(51,2,'built_seconds_teacher-vectors','0.002');
INSERT INTO "trial_user_attributes" VALUES(52,2,'built_seconds_stage1','0.005');
INSERT INTO "trial_user_attributes" VALUES(53,2,'peak_mib_stage2','396.836');
INSERT INTO "trial_user_attributes" VALUES(54,2,'peak_mib_evaluate','396.836');
INSERT INTO "trial_user_attributes" VALUES(55,2,'data_digest','"75ac08d208ee78bb55c6ce3667333f2135855d68d40b7a214a8b79423dfada14"');
INSERT INTO "trial_user_attributes" VALUES(56,2,'updates','2');
INSERT INTO "trial_user_attributes" VALUES(57,2,'best_epoch','2');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,2.30418470418470466842e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,2.597817460317460303e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 09:47:18.386592','2026-11-26 09:47:18.460135');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-26 09:47:18.465516','2026-11-26 09:47:18.503988');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
